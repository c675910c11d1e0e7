import { type ErrorCode, errorCodes, KvmError, VmmError } from '../errors.js'

// Errors cross the channel as what programs use of them. What comes in is made of the other process's words, so each of
// them is looked at, and cut to a length.

const TEXT_MAX = 4096

/** An error as JSON. */
export function errorForm(error: unknown): unknown {
  if (error instanceof VmmError) {
    const { code, message, option, expected, cause } = error
    return {
      kind: 'vmm',
      ...{ code, message, option, expected, value: plain(error.value) },
      ...(cause === undefined ? {} : { cause: errorForm(cause) }),
    }
  }
  if (error instanceof KvmError) {
    const { code, errno, syscall, message } = error
    return { kind: 'kvm', code, errno, syscall, message }
  }
  if (!(error instanceof Error)) return { kind: 'error', message: String(error) }
  const { code, errno } = error as NodeJS.ErrnoException
  return { kind: 'error', message: error.message, code, errno }
}

type Form = Readonly<
  Partial<
    Record<
      'kind' | 'message' | 'code' | 'errno' | 'syscall' | 'option' | 'expected' | 'value' | 'cause',
      unknown
    >
  >
>

/** The error again; for what is no form of one, an error that says so. */
export function errorFromForm(form: unknown, depth = 0): Error {
  if (typeof form !== 'object' || form === null) {
    return new VmmError('ERR_ISOLATION', 'the other process gave an error that is none')
  }
  const given = form as Form
  const message = text(given.message) ?? 'an error without a message'
  const code = text(given.code)
  if (given.kind === 'vmm' && code !== undefined && Object.hasOwn(errorCodes, code)) {
    const [option, expected] = [text(given.option), text(given.expected)]
    const value = plain(given.value)
    const inner = given.cause !== undefined && depth < 4
    return new VmmError(code as ErrorCode, message, {
      ...(option !== undefined && { option }),
      ...(expected !== undefined && { expected }),
      ...(value !== undefined && { value }),
      ...(inner && { cause: errorFromForm(given.cause, depth + 1) }),
    })
  }
  const errno = given.errno
  const number = Number.isInteger(errno) ? (errno as number) : undefined
  if (given.kind === 'kvm' && code !== undefined) {
    const syscall = text(given.syscall) ?? ''
    const detail = message.slice(`${syscall}: ${code}, `.length)
    return new KvmError(code, number ?? 0, syscall, detail)
  }
  return Object.assign(
    new Error(message),
    code === undefined ? {} : { code },
    number === undefined ? {} : { errno: number },
  )
}

function text(given: unknown): string | undefined {
  return typeof given === 'string' ? given.slice(0, TEXT_MAX) : undefined
}

/** A value that says something by itself; others an error's message describes. */
function plain(value: unknown): unknown {
  if (typeof value === 'string') return value.slice(0, TEXT_MAX)
  return typeof value === 'number' || typeof value === 'boolean' ? value : undefined
}
