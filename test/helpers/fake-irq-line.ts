import type { IrqLine } from '../../lib/interrupt/irq-line.js'

/** An interrupt line that remembers its level and counts its rising edges. */
export class FakeIrqLine implements IrqLine {
  level = false
  edges = 0
  constructor(readonly gsi = 4) {}
  assert(): void {
    if (!this.level) this.edges++
    this.level = true
  }
  deassert(): void {
    this.level = false
  }
  pulse(): void {
    this.edges++
  }
}
