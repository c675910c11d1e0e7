import { constants } from 'node:os'
import { type ErrorCode, VmmError } from '../errors.js'
import type { Frame } from './protocol.js'
import { STEPS } from './protocol.js'

/** The error that `FAILED` tells of; its `cause` has the errno's name as `code`, as Node's own system errors do. */
export function failureOf(frame: Frame, code: ErrorCode, what: string, value: unknown): VmmError {
  if (frame.payload.length < 8) throw new RangeError('FAILED without a reason')
  const errno = frame.payload.readUInt32LE(0)
  const step = STEPS[frame.payload.readUInt32LE(4)]
  if (errno < 1 || errno > 4095 || step === undefined) throw new RangeError('FAILED by nothing')
  const name = errorName(errno)
  const cause = Object.assign(new Error(`${name}: ${step}`), { code: name, errno: -errno })
  return new VmmError(code, `${what}: ${step} failed in the guest: ${name}`, { value, cause })
}

/** Not getSystemErrorName(), which knows only those that libuv has a use for. */
function errorName(errno: number): string {
  const found = Object.entries(constants.errno).find(([, value]) => value === errno)
  return found?.[0] ?? `errno ${errno}`
}
