import type { IrqLine } from '../../lib/interrupt/irq-line.js'

/** An interrupt line that remembers its level and counts its rising edges. */
export class FakeIrqLine implements IrqLine {
  level = false
  edges = 0
  /** What another vCPU does the moment that the line rises. */
  onRise: (() => void) | undefined
  constructor(readonly gsi = 4) {}
  assert(): void {
    const rises = !this.level
    if (rises) this.edges++
    this.level = true
    if (rises) this.onRise?.()
  }
  deassert(): void {
    this.level = false
  }
  pulse(): void {
    this.edges++
  }
}
