/** What a watchdog's countdown runs by. */
export interface CountdownOptions {
  /** Calls back after so many milliseconds and returns what calls that off; a timer of the event loop's unless told. */
  schedule?: (callback: () => void, milliseconds: number) => () => void
  /** A monotonic clock in milliseconds; `performance.now` unless told. */
  clock?: () => number
}

/** What a machine has of its watchdog, of whatever kind it is. */
export interface Watchdog {
  /** Its time stands still until `resume()`, as the guest's does. */
  pause(): void
  resume(): void
  close(): void
}

/** The time that a guest has left, which stands still while the machine is paused. */
export class Countdown {
  readonly #onEnd: () => void
  readonly #schedule: NonNullable<CountdownOptions['schedule']>
  readonly #clock: () => number
  #cancel: (() => void) | undefined
  #deadline = 0
  /** Milliseconds that were left when the machine was paused. */
  #left: number | undefined

  constructor(onEnd: () => void, { schedule = timer, clock }: CountdownOptions = {}) {
    this.#onEnd = onEnd
    this.#schedule = schedule
    this.#clock = clock ?? (() => performance.now())
  }

  /** Whether it has been started and has not ended. */
  get running(): boolean {
    return this.#cancel !== undefined || this.#left !== undefined
  }

  /** Milliseconds that are left. */
  get left(): number {
    if (this.#cancel === undefined) return this.#left ?? 0
    return Math.max(0, this.#deadline - this.#clock())
  }

  start(milliseconds: number): void {
    this.stop()
    this.#deadline = this.#clock() + milliseconds
    this.#cancel = this.#schedule(() => {
      this.#cancel = undefined
      this.#onEnd()
    }, milliseconds)
  }

  stop(): void {
    this.#cancel?.()
    this.#cancel = undefined
    this.#left = undefined
  }

  pause(): void {
    if (this.#cancel === undefined) return
    const { left } = this
    this.stop()
    this.#left = left
  }

  resume(): void {
    if (this.#left !== undefined) this.start(this.#left)
  }
}

/** Running vCPUs keep the process alive, not this. */
function timer(callback: () => void, milliseconds: number): () => void {
  const timeout = setTimeout(callback, milliseconds).unref()
  return () => clearTimeout(timeout)
}
