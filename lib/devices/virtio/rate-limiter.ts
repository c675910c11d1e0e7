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
  /** Bytes a second. */
  bytes?: Rate
}

/** Milliseconds of the longest timer that Node has; a longer one would end at once. */
const TIMER_MAX = 2 ** 31 - 1

/** One token bucket. It may run into debt by what is done last, which then delays the next. */
class Bucket {
  readonly #perMillisecond: number
  readonly #burst: number
  #tokens: number
  #filledAt: number

  constructor({ perSecond, burst = perSecond }: Rate, now: number) {
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

/** Holds a device to a {@link RateLimit}, which may change, on the monotonic clock. */
export class RateLimiter {
  readonly #option: string
  readonly #now: () => number
  #operations: Bucket | undefined
  #bytes: Bucket | undefined
  #timer: NodeJS.Timeout | undefined
  #resume: (() => void) | undefined

  /**
   * @param option how errors name the limit
   * @param limit none if absent
   * @throws VmmError `ERR_INVALID_OPTION` for what is no limit: see {@link checkRateLimit}
   */
  constructor(
    option: string,
    limit?: RateLimit | null,
    now: () => number = () => performance.now(),
  ) {
    this.#option = option
    this.#now = now
    this.set(limit)
  }

  /**
   * Sets another limit, or none. It begins with its burst; whoever waits by the old one waits by the new one.
   * @throws VmmError `ERR_INVALID_OPTION`, and the limit is as before
   */
  set(limit: RateLimit | null | undefined): void {
    const { operations, bytes } = limit == null ? {} : checkRateLimit(limit, this.#option)
    const now = this.#now()
    this.#operations = operations && new Bucket(operations, now)
    this.#bytes = bytes && new Bucket(bytes, now)
    if (this.#resume !== undefined) this.#look()
  }

  /** Milliseconds until the next operation may begin; 0 for now. */
  get delay(): number {
    if (this.#operations === undefined && this.#bytes === undefined) return 0
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
    if (this.#resume === undefined) {
      this.#resume = resume
      this.#wait(delay)
    }
    return false
  }

  /** Forgets whoever waits. */
  cancel(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#resume = undefined
  }

  #wait(delay: number): void {
    this.#timer = setTimeout(() => this.#look(), Math.min(delay, TIMER_MAX)).unref()
  }

  #look(): void {
    const resume = this.#resume
    const { delay } = this
    clearTimeout(this.#timer)
    if (delay > 0) {
      this.#wait(delay)
      return
    }
    this.cancel()
    resume?.()
  }
}

/**
 * A copy of a limit that somebody gave.
 * @throws VmmError `ERR_INVALID_OPTION` for what is no object, has other properties, or a rate that is no number above 0
 */
export function checkRateLimit(given: unknown, option: string): RateLimit {
  const { operations, bytes } = properties(given, option, ['operations', 'bytes'])
  return {
    ...(operations !== undefined && { operations: checkRate(operations, `${option}.operations`) }),
    ...(bytes !== undefined && { bytes: checkRate(bytes, `${option}.bytes`) }),
  }
}

function checkRate(given: unknown, option: string): Rate {
  const { perSecond, burst } = properties(given, option, ['perSecond', 'burst'])
  return {
    perSecond: positive(perSecond, `${option}.perSecond`),
    ...(burst !== undefined && { burst: positive(burst, `${option}.burst`) }),
  }
}

function positive(given: unknown, option: string): number {
  if (typeof given === 'number' && given > 0 && given <= Number.MAX_SAFE_INTEGER) return given
  throw invalidOption(option, given, 'a number above 0')
}

/** Each property is read once: a getter may give another value next time. */
function properties<const K extends string>(
  given: unknown,
  option: string,
  names: readonly K[],
): Partial<Record<K, unknown>> {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw invalidOption(option, given, 'an object of options')
  }
  const source: Readonly<Record<string, unknown>> = { ...given }
  const other = Object.keys(source).find((key) => !names.includes(key as K))
  if (other !== undefined)
    throw invalidOption(`${option}.${other}`, source[other], 'no such option')
  return source as Partial<Record<K, unknown>>
}

/**
 * Sets the limits named of those that a device has, and leaves the others.
 * @throws VmmError `ERR_INVALID_OPTION` for another name, or what is no limit; nothing has changed then
 */
export function setRateLimits(
  limiters: Readonly<Record<string, RateLimiter>>,
  limits: object,
): void {
  const given = properties(limits, 'limits', Object.keys(limiters))
  const checked = Object.entries(given)
    .filter(([, limit]) => limit !== undefined)
    .map(([name, limit]) => [name, limit === null ? null : checkRateLimit(limit, name)] as const)
  for (const [name, limit] of checked) limiters[name]!.set(limit)
}
