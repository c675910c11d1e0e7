import type { BusDevice } from '../../bus/bus-device.js'

export interface DebugExitOptions {
  name?: string
  /** Called once, until `reset()`, with what the guest wrote: 0 to 2^32 - 1. */
  onExit: (code: number) => void
}

/**
 * QEMU's `isa-debug-exit`: a write ends the machine, and its value tells how a test in the guest went.
 * Reads as 0.
 */
export class DebugExit implements BusDevice {
  readonly name: string
  readonly #onExit: (code: number) => void
  #fired = false

  constructor(options: DebugExitOptions) {
    this.name = options.name ?? 'debug-exit'
    this.#onExit = options.onExit
  }

  reset(): void {
    this.#fired = false
  }

  read(): number {
    return 0
  }

  write(_offset: number, _width: 1 | 2 | 4, value: number): void {
    if (this.#fired) return
    this.#fired = true
    this.#onExit(value >>> 0)
  }
}
