import { invalidOption } from '../errors.js'
import { checkSize } from './guest-process.js'
import { encodeWords, REQUEST_MAX } from './protocol.js'

/** How a program is started in a guest. */
export interface SpawnOptions {
  /** Variables besides `PATH`, `HOME` and, with a terminal, `TERM`, which have usual values unless told. */
  env?: Readonly<Record<string, string | undefined>>
  /** The working directory: `'/'` unless told. */
  cwd?: string
  /** Number of its user: root's unless told. */
  uid?: number
  /** Number of its group: root's unless told. */
  gid?: number
  /** Gives it a terminal of that many characters, `{ rows: 24, columns: 80 }`; none unless told. */
  tty?: { rows: number; columns: number }
}

const DEFAULT_ENVIRONMENT = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/root',
}

const STRINGS_MAX = 8192
const TTY = 1

/**
 * The payload of `EXEC`.
 * @throws VmmError `ERR_INVALID_OPTION`
 */
export function encodeExec(argv: readonly string[], options: SpawnOptions): Buffer {
  if (!Array.isArray(argv) || argv.length === 0 || argv[0] === '') {
    throw invalidOption('argv', argv, 'an array of a program and its arguments')
  }
  // Read once each: they are the caller's.
  const { env = {}, cwd = '/', uid = 0, gid = 0, tty } = options
  if (typeof env !== 'object' || env === null) throw invalidOption('env', env, 'an object')
  const variables: Record<string, string | undefined> = {
    ...DEFAULT_ENVIRONMENT,
    ...(tty && { TERM: 'xterm' }),
    ...env,
  }
  const environment = Object.entries(variables)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => {
      if (name === '' || name.includes('=')) throw invalidOption('env', name, 'a name without =')
      return `${checkString(`env.${name}`, name)}=${checkString(`env.${name}`, value)}`
    })
  const strings = [
    checkString('cwd', cwd),
    ...argv.map((argument, index) => checkString(`argv[${index}]`, argument)),
    ...environment,
  ]
  if (strings.length > STRINGS_MAX) {
    throw invalidOption('argv', strings.length, `at most ${STRINGS_MAX} arguments and variables`)
  }
  const { rows = 0, columns = 0 } = tty ?? {}
  checkSize('tty.rows', rows)
  checkSize('tty.columns', columns)
  const request = Buffer.concat([
    encodeWords(
      tty ? TTY : 0,
      checkId('uid', uid),
      checkId('gid', gid),
      rows + columns * 65536,
      argv.length,
      environment.length,
    ),
    ...strings.map((string) => Buffer.from(`${string}\0`)),
  ])
  return checkRequest('argv', request)
}

/** @throws VmmError `ERR_INVALID_OPTION` for one that is longer than any may be */
export function checkRequest(option: string, request: Buffer): Buffer {
  if (request.length <= REQUEST_MAX) return request
  throw invalidOption(option, `${request.length} bytes`, `at most ${REQUEST_MAX} bytes in all`)
}

export function checkString(option: string, value: unknown): string {
  if (typeof value === 'string' && !value.includes('\0')) return value
  throw invalidOption(option, value, 'a string without NUL')
}

/** 2^32 - 1 stands for no change (setuid(2)). */
function checkId(option: string, value: number): number {
  if (Number.isInteger(value) && value >= 0 && value < 2 ** 32 - 1) return value
  throw invalidOption(option, value, 'a whole number from 0 to 4294967294')
}
