import type { BusDevice } from '../../bus/bus-device.js'

/** The guest has panicked. */
export const PVPANIC_PANICKED = 1 << 0
/** The guest has panicked and goes on into its crash kernel. */
export const PVPANIC_CRASH_LOADED = 1 << 1
const EVENTS = PVPANIC_PANICKED | PVPANIC_CRASH_LOADED

export interface PvpanicOptions {
  name?: string
  /** The guest's kernel has panicked; `crashLoaded` if its crash kernel takes over. */
  onPanic: (event: { crashLoaded: boolean }) => void
}

/**
 * The paravirtual panic device (QEMU docs/specs/pvpanic.rst), one port: reads give the events that it takes, and a
 * guest writes those that happened. Other bits are ignored.
 */
export class Pvpanic implements BusDevice {
  readonly name: string
  readonly #onPanic: (event: { crashLoaded: boolean }) => void

  constructor(options: PvpanicOptions) {
    this.name = options.name ?? 'pvpanic'
    this.#onPanic = options.onPanic
  }

  read(): number {
    return EVENTS
  }

  write(_offset: number, _width: 1 | 2 | 4, value: number): void {
    if (value & PVPANIC_PANICKED) this.#onPanic({ crashLoaded: false })
    else if (value & PVPANIC_CRASH_LOADED) this.#onPanic({ crashLoaded: true })
  }
}
