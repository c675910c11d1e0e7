import type { Latch } from '../../bus/bus-device.js'

const NONE = -1

/** The latches of a device's byte registers. Setting one to what it holds costs nothing. */
export class RegisterLatches {
  readonly #latches: (Latch | undefined)[]
  readonly #values: Int16Array

  constructor(registers: number) {
    this.#latches = new Array(registers).fill(undefined)
    this.#values = new Int16Array(registers).fill(NONE)
  }

  /** A new latch answers nothing until it is set. */
  attach(offset: number, latch: Latch): void {
    this.#latches[offset] = latch
    this.#values[offset] = NONE
  }

  /** `undefined` sends reads to the device. */
  set(offset: number, value: number | undefined): void {
    const latch = this.#latches[offset]
    if (!latch || this.#values[offset] === (value ?? NONE)) return
    this.#values[offset] = value ?? NONE
    latch.set(value)
  }
}
