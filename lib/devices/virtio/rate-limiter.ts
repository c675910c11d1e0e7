import { invalidOption } from '../../errors.js'

/** A steady rate, and how far above it a burst may go. */
export interface Rate {
  /** A number above 0. */
  perSecond: number
  /** What may be used at once after a pause: one second's worth unless told. */
  burst?: number
}

/** What a device may do: any of these, or both. */
export interface RateLimit {
  /** Requests or frames. */
  operations?: Rate
  bytes?: Rate
}

/** One token bucket. It may run into debt by what is done last, which then delays the next. */
class Bucket {
  readonly #perMillisecond: number
  readonly #burst: number
  #tokens: number
  #filledAt: number

  constructor(option: string, { perSecond, burst = perSecond }: Rate, now: number) {
    for (const [name, value] of Object.entries({ perSecond, burst })) {
      const good = typeof value === 'number' && value > 0 && value <= Number.MAX_SAFE_INTEGER
      if (!good) throw invalidOption(`${option}.${name}`, value, 'a number above 0')
    }
    this.#perMillisecond = perSecond / 1000
    this.#burst = burst
    this.#tokens = burst
    this.#filledAt = now
  }

  delay(now: number): number {
    this.#tokens = Math.min(
      this.#burst,
      this.#tokens + (now - this.#filledAt) * this.#perMillisecond,
    )
    this.#filledAt = now
    return this.#tokens > 0 ? 0 : Math.max(1, -this.#tokens / this.#perMillisecond)
  }

  spend(amount: number): void {
    this.#tokens -= amount
  }
}

/** Holds a device to a {@link RateLimit}, on the monotonic clock. */
export class RateLimiter {
  readonly #operations: Bucket | undefined
  readonly #bytes: Bucket | undefined
  readonly #now: () => number
  #timer: NodeJS.Timeout | undefined

  /**
   * @param option how errors name the limit
   * @throws VmmError `ERR_INVALID_OPTION` for a rate that is no number above 0
   */
  constructor(
    option: string,
    { operations, bytes }: RateLimit,
    now: () => number = () => performance.now(),
  ) {
    this.#now = now
    this.#operations = operations && new Bucket(`${option}.operations`, operations, now())
    this.#bytes = bytes && new Bucket(`${option}.bytes`, bytes, now())
  }

  /** Milliseconds until the next operation may begin; 0 for now. */
  get delay(): number {
    const now = this.#now()
    return Math.max(this.#operations?.delay(now) ?? 0, this.#bytes?.delay(now) ?? 0)
  }

  /** One operation of `bytes` has begun. */
  spend(bytes: number): void {
    this.#operations?.spend(1)
    this.#bytes?.spend(bytes)
  }

  /** Whether the next operation may begin now; if not, `resume` is called when it may. */
  admit(resume: () => void): boolean {
    const { delay } = this
    if (delay === 0) return true
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      resume()
    }, delay).unref()
    return false
  }

  /** Forgets whoever waits. */
  cancel(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }
}
