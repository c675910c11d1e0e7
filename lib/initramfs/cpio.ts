import { invalidOption } from '../errors.js'

/** What an archive may hold. `path` is relative to the root; a leading slash is dropped. `mode` is permission bits only. */
export type CpioEntry =
  | { type: 'file'; path: string; data: Uint8Array | string; mode?: number }
  | { type: 'directory'; path: string; mode?: number }
  | { type: 'symlink'; path: string; target: string }
  | { type: 'character' | 'block'; path: string; major: number; minor: number; mode?: number }

const S_IFCHR = 0o020000
const S_IFDIR = 0o040000
const S_IFBLK = 0o060000
const S_IFREG = 0o100000
const S_IFLNK = 0o120000

const HEADER_SIZE = 110
/** The kernel's unpacker takes no name of PATH_MAX bytes or more, the NUL included (init/initramfs.c). */
const PATH_MAX = 4096
const UINT32_MAX = 0xffffffff
/** The whole archive is padded as cpio pads it. */
const BLOCK_SIZE = 512
const TRAILER = 'TRAILER!!!'

/**
 * A cpio archive in the "newc" format that the kernel unpacks as initramfs
 * (Documentation/driver-api/early-userspace/buffer-format.rst). Everything belongs to root; the same entries give the
 * same bytes. Entries come in the order given: a directory must come before what is in it.
 *
 * @param mtime seconds since 1970 that every entry gets
 * @throws VmmError `ERR_INVALID_OPTION` for a path, number or size that the format cannot express
 */
export function writeCpio(entries: readonly CpioEntry[], mtime = 0): Uint8Array {
  checkUint32('mtime', mtime)
  const records = entries.map((entry, index) => encode(entry, index + 1, mtime))
  records.push(record(TRAILER, { ino: 0, mode: 0, nlink: 1, mtime: 0, data: new Uint8Array(0) }))
  const length = records.reduce(
    (sum, { header, data }) => sum + header.length + padded(data.length),
    0,
  )
  const archive = new Uint8Array(Math.ceil(length / BLOCK_SIZE) * BLOCK_SIZE)
  let offset = 0
  for (const { header, data } of records) {
    archive.set(header, offset)
    archive.set(data, offset + header.length)
    offset += header.length + padded(data.length)
  }
  return archive
}

interface Fields {
  ino: number
  mode: number
  nlink: number
  mtime: number
  major?: number
  minor?: number
  data: Uint8Array
}

function encode(entry: CpioEntry, ino: number, mtime: number) {
  const path = checkPath(entry.path)
  const common = { ino, nlink: 1, mtime, data: new Uint8Array(0) }
  switch (entry.type) {
    case 'file': {
      const data = typeof entry.data === 'string' ? Buffer.from(entry.data) : entry.data
      if (data.length > UINT32_MAX)
        throw invalidOption(path, data.length, 'a file of less than 4 GiB')
      return record(path, { ...common, mode: S_IFREG | permissions(entry.mode, 0o644), data })
    }
    case 'directory':
      return record(path, { ...common, mode: S_IFDIR | permissions(entry.mode, 0o755), nlink: 2 })
    case 'symlink': {
      if (entry.target === '' || entry.target.includes('\0')) {
        throw invalidOption(`${path}: target`, entry.target, 'a path without NUL')
      }
      return record(path, { ...common, mode: S_IFLNK | 0o777, data: Buffer.from(entry.target) })
    }
    case 'character':
    case 'block': {
      const type = entry.type === 'block' ? S_IFBLK : S_IFCHR
      const mode = type | permissions(entry.mode, 0o600)
      const major = checkUint32(`${path}: major`, entry.major)
      const minor = checkUint32(`${path}: minor`, entry.minor)
      return record(path, { ...common, mode, major, minor })
    }
  }
}

function record(name: string, fields: Fields): { header: Uint8Array; data: Uint8Array } {
  const { ino, mode, nlink, mtime, major = 0, minor = 0, data } = fields
  const nameBytes = Buffer.from(`${name}\0`)
  const numbers = [
    ...[ino, mode, 0, 0, nlink, mtime, data.length],
    // The device that the file lies on, the device that it is, the name's length, and a checksum that newc leaves 0.
    ...[0, 0, major, minor, nameBytes.length, 0],
  ]
  const header = Buffer.alloc(padded(HEADER_SIZE + nameBytes.length))
  header.write(
    `070701${numbers.map((number) => number.toString(16).padStart(8, '0')).join('')}`,
    'latin1',
  )
  nameBytes.copy(header, HEADER_SIZE)
  return { header, data }
}

function padded(length: number): number {
  return Math.ceil(length / 4) * 4
}

function checkPath(path: string): string {
  const relative = path.replace(/^\/+/, '')
  const parts = relative.split('/')
  if (
    relative.includes('\0') ||
    parts.some((part) => part === '' || part === '.' || part === '..')
  ) {
    throw invalidOption('path', path, "a path of plain names, without '.', '..' or NUL")
  }
  if (relative === TRAILER || Buffer.byteLength(relative) >= PATH_MAX) {
    throw invalidOption('path', path, `a name that is not ${TRAILER}, below ${PATH_MAX} bytes`)
  }
  return relative
}

function permissions(mode: number | undefined, fallback: number): number {
  if (mode === undefined) return fallback
  if (!Number.isInteger(mode) || mode < 0 || mode > 0o7777) {
    throw invalidOption('mode', mode, 'permission bits from 0 to 0o7777')
  }
  return mode
}

function checkUint32(option: string, value: number): number {
  if (!Number.isInteger(value) || value < 0 || value > UINT32_MAX) {
    throw invalidOption(option, value, 'an integer from 0 to 4294967295')
  }
  return value
}
