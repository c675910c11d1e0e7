/** An entry of a folder: `struct linux_dirent64` of getdents64(2). */
export interface DirectoryEntry {
  readonly name: string
  readonly kind: 'file' | 'folder' | 'link' | 'unknown' | 'other'
}

const RECLEN = 16
const TYPE = 18
const NAME = 19
/** d_type. */
const KINDS: Readonly<Record<number, DirectoryEntry['kind']>> = {
  0: 'unknown',
  4: 'folder',
  8: 'file',
  10: 'link',
}
/** NAME_MAX of limits.h with its NUL, and what aligns the record. */
const RECORD_MAX = NAME + 256 + 7

/** Cuts what getdents64(2) gives into entries, without `.` and `..`. Keeps less than one. */
export class DirectoryEntryDecoder {
  #rest: Buffer = Buffer.alloc(0)

  /** @throws RangeError for what no kernel gives, such as a name with a slash */
  push(chunk: Buffer): DirectoryEntry[] {
    let rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    const entries: DirectoryEntry[] = []
    while (rest.length >= NAME) {
      const length = rest.readUInt16LE(RECLEN)
      if (length <= NAME || length > RECORD_MAX) throw new RangeError(`an entry of ${length} bytes`)
      if (rest.length < length) break
      const name = nameOf(rest.subarray(NAME, length))
      if (name !== '.' && name !== '..') {
        entries.push({ name, kind: KINDS[rest[TYPE]!] ?? 'other' })
      }
      rest = rest.subarray(length)
    }
    this.#rest = rest
    return entries
  }

  /** @throws RangeError if an entry is not whole */
  end(): void {
    if (this.#rest.length > 0) throw new RangeError('an entry without an end')
  }
}

function nameOf(bytes: Buffer): string {
  const end = bytes.indexOf(0)
  const name = bytes.toString('utf8', 0, Math.max(end, 0))
  // Another encoding would give a path that is not there.
  const isWhole = Buffer.byteLength(name) === end && !name.includes('\ufffd')
  if (end > 0 && isWhole && !name.includes('/')) return name
  throw new RangeError(`the name ${JSON.stringify(name)}`)
}
