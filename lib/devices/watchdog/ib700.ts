import type { BusDevice } from '../../bus/bus-device.js'
import { Countdown, type CountdownOptions, type Watchdog } from './countdown.js'

/** First port; the watchdog is stopped by a write to the first and started, or fed, by a write to the third. */
export const IB700_PORT = 0x441
export const IB700_PORTS = 4
export const IB700_STOP = 0
export const IB700_START = 2

export interface Ib700Options extends CountdownOptions {
  name?: string
  /** Called each time the guest has not fed it in time. */
  onExpire: () => void
}

/**
 * The watchdog of iBASE's IB700 board, which QEMU offers as `ib700` and Linux drives by `ib700wdt`. A value n from 0 to 15
 * written to the start port gives the guest 30 - 2n seconds until it has to write there again.
 */
export class Ib700 implements BusDevice, Watchdog {
  readonly name: string
  readonly #countdown: Countdown

  constructor(options: Ib700Options) {
    this.name = options.name ?? 'ib700'
    this.#countdown = new Countdown(options.onExpire, options)
  }

  /** Whether the guest has to feed it. */
  get running(): boolean {
    return this.#countdown.running
  }

  reset(): void {
    this.#countdown.stop()
  }

  pause(): void {
    this.#countdown.pause()
  }

  resume(): void {
    this.#countdown.resume()
  }

  close(): void {
    this.#countdown.stop()
  }

  read(_offset: number, width: 1 | 2 | 4): number {
    return 2 ** (8 * width) - 1
  }

  write(offset: number, _width: 1 | 2 | 4, value: number): void {
    if (offset === IB700_STOP) this.#countdown.stop()
    else if (offset === IB700_START) this.#countdown.start((30 - 2 * (value & 0xf)) * 1000)
  }
}
