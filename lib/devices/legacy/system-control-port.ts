import type { BusDevice } from '../../bus/bus-device.js'

export interface SystemControlPortOptions {
  name?: string
  /** Called once, until `reset()`, when the guest asks for a fast reset. */
  onReset: () => void
}

const FAST_RESET = 0x01
const A20 = 0x02
/** Bits that are latched; the rest (fixed disk light, security lock) read as 0. */
const WRITABLE = 0xcb

/** PS/2 system control port A (port 0x92): fast A20 gate and fast reset. */
export class SystemControlPort implements BusDevice {
  readonly name: string
  readonly #onReset: () => void
  #value = A20
  #fired = false

  constructor(options: SystemControlPortOptions) {
    this.name = options.name ?? 'port92'
    this.#onReset = options.onReset
  }

  reset(): void {
    this.#value = A20
    this.#fired = false
  }

  read(_offset: number, width: 1 | 2 | 4): number {
    return width === 1 ? this.#value : 2 ** (8 * width) - 1
  }

  write(_offset: number, width: 1 | 2 | 4, value: number): void {
    if (width !== 1) return
    // The reset comes with the change of bit 0 from 0 to 1.
    const reset = (value & ~this.#value & FAST_RESET) !== 0
    this.#value = value & WRITABLE
    if (!reset || this.#fired) return
    this.#fired = true
    this.#onReset()
  }
}
