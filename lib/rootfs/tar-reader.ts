import { ByteSource } from './byte-source.js'
import { badRootfs } from './rootfs-error.js'

// Read here rather than by a library: those at hand keep an extended header of any size in memory, and a gigabyte of
// them costs its maker a megabyte of gzip.

export type TarType = 'file' | 'link' | 'symlink' | 'character' | 'block' | 'directory' | 'fifo'

export interface TarEntry {
  /** As it stands in the archive. */
  readonly name: string
  readonly type: TarType
  /** Permission bits. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** Seconds since 1970. */
  readonly mtime: number
  readonly linkName: string
  readonly major: number
  readonly minor: number
  /** Bytes of content, which only a file has. */
  readonly size: number
  /** Where the content begins in the archive. */
  readonly offset: number
  /** To be read before the next entry is asked for; what is left is skipped. */
  readonly content: AsyncIterable<Buffer>
}

const BLOCK = 512
/** Bytes of one extended header: names and numbers of one entry. */
const EXTENDED_MAX = 2 ** 20

const TYPES: Readonly<Record<string, TarType>> = {
  '\0': 'file',
  '0': 'file',
  '1': 'link',
  '2': 'symlink',
  '3': 'character',
  '4': 'block',
  '5': 'directory',
  '6': 'fifo',
  '7': 'file',
}

type Extended = Map<string, string>

/**
 * The entries of a tar archive: POSIX ustar and pax, with GNU's long names and large numbers (tar(5)).
 * @param name for errors
 * @throws VmmError `ERR_ROOTFS` for what is no such archive
 */
export async function* readTar(
  name: string,
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<TarEntry, void, undefined> {
  const source = new ByteSource(name, chunks)
  const global: Extended = new Map()
  let extended: Extended = new Map()
  try {
    for (;;) {
      const header = await source.read(BLOCK)
      // The end is two blocks of zeros; some archives lack them.
      if (!header || header.every((byte) => byte === 0)) return
      checkSum(name, header)
      const type = String.fromCharCode(header[156]!)
      const size = number(name, header, 124, 12)
      if ('xgLK'.includes(type)) {
        if (size > EXTENDED_MAX) throw badRootfs(name, `an extended header of ${size} bytes`)
        const text = (await source.read(padded(size)))?.subarray(0, size) ?? Buffer.alloc(0)
        if (type === 'L') extended.set('path', cString(text))
        else if (type === 'K') extended.set('linkpath', cString(text))
        else parsePax(name, text, type === 'g' ? global : extended)
        continue
      }
      const entry = entryOf(name, header, type, size, new Map([...global, ...extended]), source)
      extended = new Map()
      const end = entry.offset + padded(entry.size)
      yield entry
      for await (const _ of source.stream(end - source.position));
    }
  } finally {
    await source.close()
  }
}

function entryOf(
  archive: string,
  header: Buffer,
  typeFlag: string,
  headerSize: number,
  extended: Extended,
  source: ByteSource,
): TarEntry {
  const isUstar = header.toString('latin1', 257, 262) === 'ustar'
  const prefix = isUstar && header[262] === 0 ? cString(header.subarray(345, 500)) : ''
  const ownName = cString(header.subarray(0, 100))
  const name = extended.get('path') ?? (prefix ? `${prefix}/${ownName}` : ownName)
  const type = TYPES[typeFlag]
  if (!type) throw badRootfs(name, `an entry of type ${JSON.stringify(typeFlag)}`)
  const given = (key: string, fallback: () => number) => {
    const text = extended.get(key)
    return text === undefined ? fallback() : decimal(name, text)
  }
  const field = (at: number, length: number) => number(archive, header, at, length)
  const wholeSize = given('size', () => headerSize)
  const offset = source.position
  // Of the others, some writers give the size of what they stand for, without its bytes.
  const size = type === 'file' ? wholeSize : 0
  const hasSlash = type === 'file' && name.endsWith('/')
  return {
    name,
    type: hasSlash ? 'directory' : type,
    mode: field(100, 8) & 0o7777,
    uid: given('uid', () => field(108, 8)),
    gid: given('gid', () => field(116, 8)),
    mtime: Math.max(
      0,
      given('mtime', () => field(136, 12)),
    ),
    linkName: extended.get('linkpath') ?? cString(header.subarray(157, 257)),
    major: isUstar ? field(329, 8) : 0,
    minor: isUstar ? field(337, 8) : 0,
    size,
    offset,
    content: { [Symbol.asyncIterator]: () => source.stream(offset + size - source.position) },
  }
}

/** Octal, or, with the top bit of the first byte set, GNU's base 256. */
function number(name: string, header: Buffer, at: number, length: number): number {
  const bytes = header.subarray(at, at + length)
  if ((bytes[0]! & 0x80) !== 0) {
    const value = bytes.reduce((sum, byte, i) => sum * 256 + (i === 0 ? byte & 0x7f : byte), 0)
    if (!Number.isSafeInteger(value)) throw badRootfs(name, 'a number that is too large')
    return value
  }
  const text = bytes.toString('latin1').replace(/^[\0 ]+|[\0 ].*$/gs, '')
  if (!/^[0-7]*$/.test(text)) throw badRootfs(name, 'a header with a field that is no number')
  return text === '' ? 0 : Number.parseInt(text, 8)
}

function decimal(name: string, text: string): number {
  const value = /^-?\d{1,16}(\.\d*)?$/.test(text) ? Math.floor(Number(text)) : Number.NaN
  if (!Number.isSafeInteger(value)) throw badRootfs(name, `a number ${JSON.stringify(text)}`)
  return value
}

function checkSum(name: string, header: Buffer): void {
  const sum = header.reduce((sum, byte, i) => sum + (i >= 148 && i < 156 ? 0x20 : byte), 0)
  if (number(name, header, 148, 8) !== sum) {
    throw badRootfs(name, 'no tar archive, or one with a damaged header')
  }
}

/** Records `LENGTH KEY=VALUE\n`, the length being that of the record. */
function parsePax(name: string, text: Buffer, into: Extended): void {
  for (let at = 0; at < text.length; ) {
    const space = text.indexOf(0x20, at)
    const digits = space < 0 ? '' : text.toString('latin1', at, space)
    const length = /^\d{1,7}$/.test(digits) ? Number(digits) : 0
    const end = at + length
    if (length <= digits.length + 1 || end > text.length || text[end - 1] !== 0x0a) {
      throw badRootfs(name, 'a damaged extended header')
    }
    const record = text.toString('utf8', space + 1, end - 1)
    const equals = record.indexOf('=')
    if (equals > 0) into.set(record.slice(0, equals), record.slice(equals + 1))
    at = end
  }
}

function cString(bytes: Buffer): string {
  const end = bytes.indexOf(0)
  return bytes.toString('utf8', 0, end < 0 ? bytes.length : end)
}

function padded(size: number): number {
  return Math.ceil(size / BLOCK) * BLOCK
}
