import { VmmError } from '../errors.js'
import * as check from './option-checks.js'

/** How long to wait for what the guest has to do. */
export interface WaitLimits {
  /** Milliseconds, above 0; no limit unless told. */
  timeout?: number
  /** Gives up waiting when aborted, with the signal's reason. */
  signal?: AbortSignal
}

const checkLimits = check.object(
  { timeout: check.optional(check.timeout), signal: check.optional(check.abortSignal) },
  { topLevel: true },
)

const TIMER_MAX = 2 ** 31 - 1

/**
 * Checks the limits, and gives what waits within them.
 * @param late what an error says has not come about
 * @throws VmmError `ERR_INVALID_OPTION`; the signal's reason, if it is aborted already
 */
export function awaitStop<T>(
  stopped: Promise<T>,
  limits: WaitLimits,
  late = 'the guest has not ended',
): () => Promise<T> {
  const { timeout, signal } = checkLimits(limits, 'options')
  signal?.throwIfAborted()
  return async () => {
    let timer: NodeJS.Timeout | undefined
    let onAbort: (() => void) | undefined
    const limit = new Promise<never>((_, reject) => {
      if (timeout !== undefined && timeout <= TIMER_MAX) {
        timer = setTimeout(() => reject(timedOut(late, timeout)), timeout)
      }
      onAbort = () => reject(signal?.reason)
      signal?.addEventListener('abort', onAbort)
    })
    try {
      return await Promise.race([stopped, limit])
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort!)
    }
  }
}

function timedOut(late: string, timeout: number): VmmError {
  return new VmmError('ERR_TIMEOUT', `${late} within ${timeout} ms`, {
    option: 'timeout',
    value: timeout,
  })
}
