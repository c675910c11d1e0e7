import type { BusDevice } from '../../bus/bus-device.js'

export interface ResetControlOptions {
  name?: string
  /** Called once, until `reset()`, when the guest resets the CPU. */
  onReset: () => void
}

export const RESET_CONTROL_PORT = 0xcf9
/** Whether the next reset is a hard one. */
export const SYS_RST = 0x02
/** The change of this bit from 0 to 1 resets. */
export const RST_CPU = 0x04
/** Full reset: power goes off and on. */
export const FULL_RST = 0x08

/**
 * The chipset's reset control register (port 0xCF9, Intel ICH datasheet section "RST_CNT"). It is one byte; a wider access
 * at 0xCF8 is PCI configuration's and does not come here.
 */
export class ResetControl implements BusDevice {
  readonly name: string
  readonly #onReset: () => void
  #value = 0
  #fired = false

  constructor(options: ResetControlOptions) {
    this.name = options.name ?? 'reset-control'
    this.#onReset = options.onReset
  }

  reset(): void {
    this.#value = 0
    this.#fired = false
  }

  read(_offset: number, width: 1 | 2 | 4): number {
    return width === 1 ? this.#value : 2 ** (8 * width) - 1
  }

  write(_offset: number, width: 1 | 2 | 4, value: number): void {
    if (width !== 1) return
    const reset = (value & ~this.#value & RST_CPU) !== 0
    this.#value = value & (SYS_RST | RST_CPU | FULL_RST)
    if (!reset || this.#fired) return
    this.#fired = true
    this.#onReset()
  }
}
