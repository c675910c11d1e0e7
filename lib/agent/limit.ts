import { invalidOption, VmmError } from '../errors.js'
import { Settled } from '../util/settled.js'

/** How long something may take. */
export interface LimitOptions {
  /** Milliseconds, from 1 to 2^31 - 1. No limit unless told. */
  timeout?: number
  /** Ends it early: it then rejects with the signal's reason. */
  signal?: AbortSignal
}

const TIMEOUT_MAX = 2 ** 31 - 1

/** A time limit and an abort signal, as a promise that rejects when one of them ends what is being done. */
export class Limit implements Disposable {
  readonly #reached = new Settled<never>()
  readonly #timer: NodeJS.Timeout | undefined
  readonly #stopListening: () => void

  /**
   * @param what names what is limited, in the error: `'exec of "make"'`
   * @throws VmmError `ERR_INVALID_OPTION`
   */
  constructor(what: string, { timeout, signal }: LimitOptions) {
    checkTimeout(timeout)
    if (signal !== undefined && !(signal instanceof AbortSignal)) {
      throw invalidOption('signal', signal, 'an AbortSignal')
    }
    const onAbort = () => this.#reached.reject(signal?.reason)
    signal?.addEventListener('abort', onAbort, { once: true })
    if (signal?.aborted) onAbort()
    this.#stopListening = () => signal?.removeEventListener('abort', onAbort)
    if (timeout === undefined) return
    this.#timer = setTimeout(() => {
      const details = { option: 'timeout', value: timeout }
      this.#reached.reject(
        new VmmError('ERR_TIMEOUT', `${what}: not done after ${timeout} ms`, details),
      )
    }, timeout)
  }

  /** What `work` gives, unless the limit is reached before. */
  race<T>(work: Promise<T>): Promise<T> {
    return Promise.race([this.#reached.promise, work])
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer)
    this.#stopListening()
  }
}

function checkTimeout(timeout: number | undefined): void {
  if (timeout === undefined) return
  if (!Number.isInteger(timeout) || timeout < 1 || timeout > TIMEOUT_MAX) {
    throw invalidOption('timeout', timeout, `milliseconds, from 1 to ${TIMEOUT_MAX}`)
  }
}
