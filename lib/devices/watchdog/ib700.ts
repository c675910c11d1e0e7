import type { BusDevice } from '../../bus/bus-device.js'

/** First port; the watchdog is stopped by a write to the first and started, or fed, by a write to the third. */
export const IB700_PORT = 0x441
export const IB700_PORTS = 4
export const IB700_STOP = 0
export const IB700_START = 2

export interface Ib700Options {
  name?: string
  /** Called each time the guest has not fed it in time. */
  onExpire: () => void
  /** Calls back after so many milliseconds and returns what calls that off; a timer of the event loop's unless told. */
  schedule?: (callback: () => void, milliseconds: number) => () => void
  /** A monotonic clock in milliseconds; `performance.now` unless told. */
  clock?: () => number
}

/**
 * The watchdog of iBASE's IB700 board, which QEMU offers as `ib700` and Linux drives by `ib700wdt`. A value n from 0 to 15
 * written to the start port gives the guest 30 - 2n seconds until it has to write there again.
 */
export class Ib700 implements BusDevice {
  readonly name: string
  readonly #onExpire: () => void
  readonly #schedule: NonNullable<Ib700Options['schedule']>
  readonly #clock: () => number
  #cancel: (() => void) | undefined
  #deadline = 0
  /** Milliseconds that were left when the machine was paused. */
  #left: number | undefined

  constructor(options: Ib700Options) {
    this.name = options.name ?? 'ib700'
    this.#onExpire = options.onExpire
    this.#schedule = options.schedule ?? timer
    this.#clock = options.clock ?? (() => performance.now())
  }

  /** Whether the guest has to feed it. */
  get running(): boolean {
    return this.#cancel !== undefined || this.#left !== undefined
  }

  reset(): void {
    this.#stop()
  }

  /** Its time stands still until `resume()`, as the guest's does. */
  pause(): void {
    if (this.#cancel === undefined) return
    const left = Math.max(0, this.#deadline - this.#clock())
    this.#stop()
    this.#left = left
  }

  resume(): void {
    if (this.#left !== undefined) this.#start(this.#left)
  }

  close(): void {
    this.#stop()
  }

  read(_offset: number, width: 1 | 2 | 4): number {
    return 2 ** (8 * width) - 1
  }

  write(offset: number, _width: 1 | 2 | 4, value: number): void {
    if (offset === IB700_STOP) this.#stop()
    else if (offset === IB700_START) this.#start((30 - 2 * (value & 0xf)) * 1000)
  }

  #start(milliseconds: number): void {
    this.#stop()
    this.#deadline = this.#clock() + milliseconds
    this.#cancel = this.#schedule(() => {
      this.#cancel = undefined
      this.#onExpire()
    }, milliseconds)
  }

  #stop(): void {
    this.#cancel?.()
    this.#cancel = undefined
    this.#left = undefined
  }
}

/** Running vCPUs keep the process alive, not this. */
function timer(callback: () => void, milliseconds: number): () => void {
  const timeout = setTimeout(callback, milliseconds).unref()
  return () => clearTimeout(timeout)
}
