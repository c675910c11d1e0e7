import { VmmError } from '../errors.js'
import * as check from './option-checks.js'
import type { StopReason } from './stop-reason.js'

/** How long to wait for a guest's end. */
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
 * @throws VmmError `ERR_INVALID_OPTION`; the signal's reason, if it is aborted already
 */
export function awaitStop(
  stopped: Promise<StopReason>,
  limits: WaitLimits,
): () => Promise<StopReason> {
  const { timeout, signal } = checkLimits(limits, 'options')
  signal?.throwIfAborted()
  return async () => {
    let timer: NodeJS.Timeout | undefined
    let onAbort: (() => void) | undefined
    const limit = new Promise<never>((_, reject) => {
      if (timeout !== undefined && timeout <= TIMER_MAX) {
        timer = setTimeout(() => reject(notEnded(timeout)), timeout)
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

function notEnded(timeout: number): VmmError {
  return new VmmError('ERR_TIMEOUT', `the guest has not ended within ${timeout} ms`, {
    option: 'timeout',
    value: timeout,
  })
}
