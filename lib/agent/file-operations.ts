import { type Duplex, PassThrough, type Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { invalidOption, VmmError } from '../errors.js'
import type { AgentConnection } from './agent-connection.js'
import { collect } from './collect.js'
import { checkRequest, checkString } from './exec-request.js'
import { GuestFile } from './guest-file.js'
import type { Limit } from './limit.js'
import { encodeWords, LIST, MAKE_DIRECTORY, MAKE_LINK, READ_LINK, WRITE } from './protocol.js'

/** PATH_MAX of limits.h, less its NUL. */
const PATH_MAX = 4095

/** The guest's side of what is being done, and how long that may take. */
export interface GuestSide {
  readonly connection: AgentConnection
  readonly limit: Limit
}

/** @throws VmmError `ERR_INVALID_OPTION` */
export function pathRequest(path: string, ...before: number[]): Buffer {
  if (checkString('path', path) === '' || Buffer.byteLength(path) > PATH_MAX) {
    throw invalidOption('path', path, `a path of 1 to ${PATH_MAX} bytes`)
  }
  return checkRequest('path', Buffer.concat([encodeWords(...before), Buffer.from(`${path}\0`)]))
}

/** What is read, by the frame `type`, goes to `take`. */
export async function readFile(
  { connection, limit }: GuestSide,
  type: number,
  path: string,
  request: Uint8Array,
  take: (output: Readable, mode: number) => Promise<void>,
): Promise<void> {
  const file = new GuestFile(connection, type, path, request)
  try {
    const mode = await limit.race(file.opened.promise)
    await limit.race(bothDone(take(file.output, mode), file))
  } finally {
    file.close()
  }
}

/** {@link readFile} of what is not too long to be kept. */
export async function collectFile(
  guest: GuestSide,
  type: number,
  path: string,
  request: Uint8Array,
  maxBytes: number,
): Promise<Buffer> {
  let bytes: Buffer = Buffer.alloc(0)
  await readFile(guest, type, path, request, async (output) => {
    bytes = await collect(JSON.stringify(path), output, 'maxBytes', maxBytes)
  })
  return bytes
}

/** @param through what the bytes pass on their way */
export async function writeFile(
  { connection, limit }: GuestSide,
  path: string,
  source: Readable,
  mode: number,
  through: Duplex = new PassThrough(),
): Promise<void> {
  const file = new GuestFile(connection, WRITE, path, pathRequest(path, mode))
  try {
    await limit.race(file.opened.promise)
    await limit.race(bothDone(pipeline(source, through, file.input), file))
  } finally {
    file.close()
  }
}

/** Makes a folder, unless there is one. */
export async function makeDirectory(guest: GuestSide, path: string, mode: number): Promise<void> {
  await ask(guest, MAKE_DIRECTORY, path, pathRequest(path, mode))
}

export async function makeLink(guest: GuestSide, path: string, target: string): Promise<void> {
  await ask(guest, MAKE_LINK, path, Buffer.concat([pathRequest(path), pathRequest(target)]))
}

/** Whether it is a folder, or a link to one; what is not there is none. */
export async function isDirectory(guest: GuestSide, path: string): Promise<boolean> {
  try {
    const file = new GuestFile(guest.connection, LIST, path, pathRequest(inside(path)))
    try {
      await guest.limit.race(file.opened.promise)
      return true
    } finally {
      file.close()
    }
  } catch (error) {
    const errno = errnoOf(error)
    if (errno === 'ENOTDIR' || errno === 'ENOENT') return false
    throw error
  }
}

/** What a symbolic link says, or `undefined` if it is none. */
export async function readLink(guest: GuestSide, path: string): Promise<string | undefined> {
  try {
    const target = await collectFile(guest, READ_LINK, path, pathRequest(path), PATH_MAX)
    return String(target)
  } catch (error) {
    if (errnoOf(error) === 'EINVAL') return undefined
    throw error
  }
}

/** Of a folder, or of the one that a link leads to: no other link is followed. */
export const inside = (path: string) => (path.endsWith('/') ? `${path}.` : `${path}/.`)

/** The guest's errno. */
export function errnoOf(error: unknown): unknown {
  return error instanceof VmmError && error.code === 'ERR_GUEST_FILE'
    ? (error.cause as { code?: unknown } | undefined)?.code
    : undefined
}

/** What has no contents. */
async function ask(
  { connection, limit }: GuestSide,
  type: number,
  path: string,
  request: Uint8Array,
): Promise<void> {
  const file = new GuestFile(connection, type, path, request)
  try {
    await limit.race(file.done.promise)
  } finally {
    file.close()
  }
}

/** `work` and the file, unless the file fails first or because of the same thing: then what that fails with. */
async function bothDone(work: Promise<void>, { done }: GuestFile): Promise<void> {
  const worked = work.catch(async (error: unknown) => {
    await Promise.race([done.promise, new Promise((resolve) => setImmediate(resolve))])
    throw error
  })
  await Promise.all([worked, done.promise])
}
