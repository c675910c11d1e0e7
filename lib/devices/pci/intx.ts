import type { IrqLine } from '../../interrupt/irq-line.js'

/** One device's end of an interrupt line that several share. */
export interface IntxInput {
  set(level: boolean): void
}

/** A level-triggered line that is asserted while any of its inputs is (PCI 3.0, 2.2.6). */
export class SharedLine {
  readonly #line: IrqLine
  readonly #asserting = new Set<IntxInput>()

  constructor(line: IrqLine) {
    this.#line = line
  }

  input(): IntxInput {
    const input: IntxInput = {
      set: (level) => {
        if (level) this.#asserting.add(input)
        else this.#asserting.delete(input)
        if (this.#asserting.size > 0) this.#line.assert()
        else this.#line.deassert()
      },
    }
    return input
  }
}
