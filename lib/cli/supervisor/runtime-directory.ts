import { lstatSync, mkdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { VmmError } from '../../index.js'

/** sun_path of unix(7), less its NUL. */
const SOCKET_PATH_MAX = 107
const EXTENSION = '.sock'

/** Where the sockets of this user's running machines are; whoever can enter it rules them. */
function runtimeDirectory(): string {
  const { XDG_RUNTIME_DIR: runtime } = process.env
  return runtime ? join(runtime, 'node-kvm') : join(homedir(), '.node-kvm', 'run')
}

/**
 * Makes the directory, for this user alone.
 * @throws VmmError `ERR_STATE` if it is another user's, open to others, or no directory
 */
export function openRuntimeDirectory(): string {
  const directory = runtimeDirectory()
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  // Not following a link that somebody else has put there.
  const { uid, mode } = lstatSync(directory)
  const isPrivate = uid === process.getuid!() && (mode & 0o170000) === 0o040000
  if (!isPrivate || (mode & 0o077) !== 0) {
    const expected = 'a directory of this user, that no other may enter (mode 0700)'
    throw new VmmError('ERR_STATE', `${directory}: expected ${expected}`, {
      value: directory,
      expected,
    })
  }
  return directory
}

/** What a machine may be called: it becomes the name of a file. */
function isMachineName(name: string): boolean {
  return /^[A-Za-z0-9][\w.-]{0,63}$/.test(name)
}

/** @throws VmmError `ERR_INVALID_OPTION` for what is no name, or too long with its directory */
export function socketPath(directory: string, name: string): string {
  const expected = 'at most 64 letters, digits, dots, underscores and hyphens'
  const path = join(directory, name + EXTENSION)
  if (isMachineName(name) && Buffer.byteLength(path) <= SOCKET_PATH_MAX) return path
  throw new VmmError('ERR_INVALID_OPTION', `name: expected ${expected}, got ${name}`, {
    option: 'name',
    value: name,
    expected,
  })
}

/** The machine that a file in the directory is the socket of. */
export function machineOf(file: string): string | undefined {
  if (!file.endsWith(EXTENSION)) return undefined
  const name = file.slice(0, -EXTENSION.length)
  return isMachineName(name) ? name : undefined
}
