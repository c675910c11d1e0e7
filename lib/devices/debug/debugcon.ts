import type { CharSink } from '../../backends/char/char-backend.js'
import type { BusDevice, Shortcuts } from '../../bus/bus-device.js'

/** What the port reads as, by which a guest learns that it is there. */
export const DEBUGCON_READBACK = 0xe9

export interface DebugconOptions {
  name?: string
  output: CharSink
}

/**
 * The debug console of Bochs and QEMU (`isa-debugcon`): every byte written to its port is a character, without a state
 * to set up, from the first instruction on. Kernels take port 0xE9, SeaBIOS and OVMF port 0x402.
 */
export class Debugcon implements BusDevice {
  readonly name: string
  readonly shortcuts: Shortcuts = {
    posted: [0],
    latched: [0],
    latch: (_offset, latch) => latch.set(DEBUGCON_READBACK),
  }
  readonly #output: CharSink

  constructor(options: DebugconOptions) {
    this.name = options.name ?? 'debugcon'
    this.#output = options.output
  }

  read(): number {
    return DEBUGCON_READBACK
  }

  write(_offset: number, _width: 1 | 2 | 4, value: number): void {
    this.#output.put(value & 0xff)
  }
}
