import type { Readable } from 'node:stream'
import { invalidOption, VmmError } from '../errors.js'

/** How long {@link BootConsole.waitFor} waits. */
export interface WaitOptions {
  /** Milliseconds, from 1 to 2^31 - 1. What is left of the boot test's own unless told. */
  timeout?: number
  /** Gives up when aborted, with the signal's reason. */
  signal?: AbortSignal
}

interface Waiter {
  readonly pattern: RegExp
  /** The pattern as it was given. */
  readonly given: RegExp | string
  /** Where in all that was printed it looks from. */
  readonly from: number
  readonly resolve: (match: RegExpExecArray) => void
  readonly reject: (error: unknown) => void
}

/** Lines of the log that an error shows. */
const TAIL_LINES = 40
const TIMEOUT_MAX = 2 ** 31 - 1

/**
 * What a guest has printed, kept up to a bound, and waiting for what it will.
 * A wait looks at what came after the last wait's match, so that a prompt is found once for each time it is printed.
 * CR LF is read as LF.
 */
export class BootConsole {
  readonly #limit: number
  readonly #waiters: Waiter[] = []
  #text = ''
  #dropped = 0
  /** Where in all that was printed the next wait looks from. */
  #from = 0
  #failure: { why: string; cause?: unknown } | undefined
  #scheduled = false

  /**
   * @param limit characters kept; beyond them the oldest are dropped and counted
   * @param onText is given every piece of text before any wait sees it
   */
  constructor(output: Readable, limit: number, onText: (text: string) => void) {
    this.#limit = limit
    let heldReturn = false
    output.setEncoding('utf8')
    output.on('data', (piece: string) => {
      const whole = heldReturn ? `\r${piece}` : piece
      heldReturn = whole.endsWith('\r')
      const text = (heldReturn ? whole.slice(0, -1) : whole).replaceAll('\r\n', '\n')
      if (text === '') return
      this.#append(text)
      onText(text)
    })
  }

  /** What was printed, as far as it is kept. */
  get text(): string {
    return this.#text
  }

  /** Characters that are kept no more. */
  get dropped(): number {
    return this.#dropped
  }

  /** The last lines. */
  tail(lines = TAIL_LINES): string {
    return lastLines(this.#text, lines)
  }

  /**
   * Resolves with the match when the guest prints, or has printed since the last wait's match, what `pattern` matches.
   *
   * @example
   * ```ts
   * await boot.console.waitFor(/login: $/)
   * boot.send('root\n')
   * const [, version] = await boot.console.waitFor(/Linux version (\S+)/, { timeout: 5000 })
   * ```
   * @throws VmmError `ERR_TIMEOUT` after `timeout`, `ERR_BOOT_TEST` if the guest ends or panics before; both show the
   *   log's last lines
   */
  async waitFor(pattern: RegExp | string, options: WaitOptions = {}): Promise<RegExpExecArray> {
    const { timeout, signal } = options
    if (timeout !== undefined) checkTimeout(timeout)
    signal?.throwIfAborted()
    const own = compile(pattern)
    const stop = new AbortController()
    let waiter: Waiter | undefined
    try {
      return await new Promise<RegExpExecArray>((resolve, reject) => {
        waiter = { pattern: own, given: pattern, from: this.#from, resolve, reject }
        this.#waiters.push(waiter)
        signal?.addEventListener('abort', () => reject(signal.reason), { signal: stop.signal })
        if (timeout !== undefined) {
          const timer = setTimeout(() => {
            const why = `the guest has not printed ${pattern} within ${timeout} ms`
            reject(this.#error('ERR_TIMEOUT', why))
          }, timeout)
          stop.signal.addEventListener('abort', () => clearTimeout(timer))
        }
        this.#look()
        if (this.#failure) this.#reject(waiter)
      })
    } finally {
      stop.abort()
      const index = this.#waiters.indexOf(waiter!)
      if (index >= 0) this.#waiters.splice(index, 1)
    }
  }

  /** No more will come that is worth waiting for: `why` is what waits fail with. */
  fail(why: string, cause?: unknown): void {
    if (this.#failure) return
    this.#look()
    this.#failure = { why, cause }
    for (const waiter of this.#waiters.splice(0)) this.#reject(waiter)
  }

  #append(text: string): void {
    this.#text += text
    const excess = this.#text.length - this.#limit
    // In large steps, so that a burst is not copied for each of its pieces.
    if (excess > this.#limit / 8) {
      this.#text = this.#text.slice(excess)
      this.#dropped += excess
    }
    if (this.#waiters.length === 0 || this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.#look()
    })
  }

  #look(): void {
    for (const waiter of [...this.#waiters]) {
      waiter.pattern.lastIndex = Math.max(0, waiter.from - this.#dropped)
      const match = waiter.pattern.exec(this.#text)
      if (!match) continue
      this.#from = Math.max(this.#from, this.#dropped + match.index + match[0].length)
      this.#waiters.splice(this.#waiters.indexOf(waiter), 1)
      waiter.resolve(match)
    }
  }

  #reject({ given, reject }: Waiter): void {
    const { why, cause } = this.#failure!
    reject(this.#error('ERR_BOOT_TEST', `${why} before it printed ${given}`, cause))
  }

  #error(code: 'ERR_TIMEOUT' | 'ERR_BOOT_TEST', why: string, cause?: unknown): VmmError {
    return new VmmError(code, `${why}. The log ends:\n${this.tail()}`, { cause })
  }
}

/** As many as an error shows unless told. */
export function lastLines(text: string, lines = TAIL_LINES): string {
  return text.trimEnd().split('\n').slice(-lines).join('\n')
}

export function checkTimeout(timeout: unknown): void {
  if (Number.isInteger(timeout) && Number(timeout) >= 1 && Number(timeout) <= TIMEOUT_MAX) return
  throw invalidOption('timeout', timeout, 'milliseconds, a whole number from 1 to 2147483647')
}

/** A pattern of its own, as `lastIndex` is state. */
function compile(pattern: RegExp | string): RegExp {
  if (pattern instanceof RegExp) {
    return new RegExp(pattern.source, `${pattern.flags.replace(/[gy]/g, '')}g`)
  }
  if (typeof pattern === 'string' && pattern !== '') {
    return new RegExp(pattern.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'), 'g')
  }
  throw invalidOption('pattern', pattern, 'a regular expression or a text')
}
