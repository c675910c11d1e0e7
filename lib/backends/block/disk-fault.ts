import { constants } from 'node:os'
import { invalidOption } from '../../errors.js'

/** What a disk is asked to do. */
export type DiskOperation = 'read' | 'write' | 'flush' | 'discard' | 'write-zeroes'

const OPERATIONS: readonly DiskOperation[] = ['read', 'write', 'flush', 'discard', 'write-zeroes']

/** One way for a disk to fail, and when it does. Of several that apply to an operation, the first is taken. */
export interface DiskFault {
  /** Which operations it befalls: any unless told. */
  readonly on?: DiskOperation
  /** The first of those operations that it befalls, counted from 1 and from when the fault was injected: 1 unless told. */
  readonly nth?: number
  /** How many of them in a row: 1 unless told, `Infinity` for all that follow. */
  readonly count?: number
  /** Milliseconds before the operation is begun, 0 to 2^31 - 1, or `Infinity`: it never is, until the disk is closed. 0 unless told. */
  readonly delay?: number
  /** The errno that it ends with, by name: `'ENOSPC'`. It is done otherwise, unless `bytes` is given: then `'EIO'`. */
  readonly error?: string
  /** Bytes that a read or write moves before it ends with the error: 0 unless told. */
  readonly bytes?: number
}

/** A fault with all that was left out. */
export interface CheckedFault {
  readonly on: DiskOperation | undefined
  readonly nth: number
  readonly count: number
  readonly delay: number
  /** Positive, 0 for none. */
  readonly errno: number
  readonly bytes: number
}

/** @throws VmmError `ERR_INVALID_OPTION` */
export function checkFault(given: unknown, option: string): CheckedFault {
  if (typeof given !== 'object' || given === null) throw invalidOption(option, given, 'a fault')
  const fault: Readonly<Record<string, unknown>> = { ...given }
  const known = ['on', 'nth', 'count', 'delay', 'error', 'bytes']
  const other = Object.keys(fault).find((key) => !known.includes(key))
  if (other !== undefined) throw invalidOption(`${option}.${other}`, fault[other], 'no such option')
  const number = (
    key: string,
    otherwise: number,
    least: number,
    most: number,
    endless: boolean,
  ): number => {
    const value = fault[key] ?? otherwise
    if (endless && value === Number.POSITIVE_INFINITY) return value
    if (Number.isInteger(value) && (value as number) >= least && (value as number) <= most)
      return value as number
    const range = `a whole number from ${least} to ${most}${endless ? ', or Infinity' : ''}`
    throw invalidOption(`${option}.${key}`, value, range)
  }
  const { on, error = fault.bytes === undefined ? undefined : 'EIO' } = fault
  if (on !== undefined && !OPERATIONS.includes(on as DiskOperation))
    throw invalidOption(`${option}.on`, on, OPERATIONS.join(', '))
  return {
    on: on as DiskOperation | undefined,
    nth: number('nth', 1, 1, Number.MAX_SAFE_INTEGER, false),
    count: number('count', 1, 1, Number.MAX_SAFE_INTEGER, true),
    delay: number('delay', 0, 0, 2 ** 31 - 1, true),
    errno: error === undefined ? 0 : errnoOf(error, `${option}.error`),
    bytes: number('bytes', 0, 0, Number.MAX_SAFE_INTEGER, false),
  }
}

function errnoOf(name: unknown, option: string): number {
  const { errno } = constants
  if (typeof name === 'string' && Object.hasOwn(errno, name))
    return errno[name as keyof typeof errno]
  throw invalidOption(option, name, "the name of an errno, such as 'EIO'")
}
