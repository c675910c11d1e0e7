import { spawn } from 'node:child_process'
import { VmmError } from '../errors.js'

/** Debian's packages for the programs that are run here, for the message when one is missing. */
const PACKAGES: Record<string, string> = {
  'apt-cache': 'apt',
  'apt-get': 'apt',
  cc: 'gcc libc6-dev',
  'dpkg-deb': 'dpkg',
  'mkfs.ext4': 'e2fsprogs',
  zstd: 'zstd',
  'qemu-system-x86_64': 'qemu-system-x86',
}

/** Where programs for root lie, which is not in everybody's PATH. */
const SBIN = '/usr/local/sbin:/usr/sbin:/sbin'

/** Bytes of standard error kept for the message. */
const ERROR_TAIL = 4096

/**
 * Runs a program without a shell and returns its standard output.
 * @throws VmmError `ERR_MISSING_PROGRAM` if it is not installed, `ERR_ASSET` with the end of what it said if it fails
 */
export async function runProgram(
  program: string,
  args: readonly string[],
  options: { cwd?: string } = {},
): Promise<string> {
  const env = { ...process.env, LC_ALL: 'C.UTF-8', PATH: `${process.env.PATH ?? ''}:${SBIN}` }
  const child = spawn(program, args, { ...options, env, stdio: ['ignore', 'pipe', 'pipe'] })
  const output: Buffer[] = []
  let errors = ''
  child.stdout.on('data', (chunk: Buffer) => output.push(chunk))
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-ERROR_TAIL)
  })
  const status = await new Promise<number | string>((resolve, reject) => {
    child.on('error', (error: NodeJS.ErrnoException) => reject(cannotRun(program, error)))
    child.on('close', (code, signal) => resolve(code ?? signal ?? 1))
  })
  if (status === 0) return Buffer.concat(output).toString()
  const call = [program, ...args].join(' ')
  // debootstrap tells what is wrong on its standard output.
  const said = errors.trimEnd() || Buffer.concat(output).toString().slice(-ERROR_TAIL).trimEnd()
  throw new VmmError('ERR_ASSET', `${call}: status ${status}\n${said}`)
}

/** The error of a program that could not be started. */
export function cannotRun(program: string, cause: NodeJS.ErrnoException): VmmError {
  return cause.code === 'ENOENT'
    ? missingProgram(program, cause)
    : new VmmError('ERR_ASSET', cause.message, { cause })
}

/** `ERR_MISSING_PROGRAM`, naming the Debian package that has it. */
export function missingProgram(program: string, cause?: unknown): VmmError {
  const name = program.slice(program.lastIndexOf('/') + 1)
  const from = PACKAGES[name] ? `: apt-get install ${PACKAGES[name]}` : ''
  return new VmmError('ERR_MISSING_PROGRAM', `${program} is not installed${from}`, { cause })
}
