import type { BusDevice, Shortcuts } from '../../bus/bus-device.js'

/**
 * Port 0x80: firmware shows its progress there, and Linux writes to it for a delay of about a microsecond.
 * Writes are posted and reads latched, so that neither waits for anyone.
 */
export class PostCodePort implements BusDevice {
  readonly name: string
  readonly shortcuts: Shortcuts = {
    posted: [0],
    latched: [0],
    latch: (_offset, latch) => latch.set(0xff),
  }
  #code = 0

  constructor(name = 'post-code') {
    this.name = name
  }

  /** The last byte written. */
  get code(): number {
    return this.#code
  }

  read(_offset: number, width: 1 | 2 | 4): number {
    return 2 ** (8 * width) - 1
  }

  write(_offset: number, width: 1 | 2 | 4, value: number): void {
    if (width === 1) this.#code = value & 0xff
  }
}
