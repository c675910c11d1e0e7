/** An entry of an archive, with what a header can say; `raw` changes the header's bytes before they are summed up. */
export interface Entry {
  name: string
  type?: string
  data?: Buffer | string
  size?: number
  mode?: number
  uid?: number
  gid?: number
  mtime?: number
  linkName?: string
  major?: number
  minor?: number
  raw?: (header: Buffer) => void
}

const octal = (value: number, length: number) => `${value.toString(8).padStart(length - 1, '0')}\0`

export function tarEntry(entry: Entry): Buffer {
  const data = Buffer.from(entry.data ?? '')
  const header = Buffer.alloc(512)
  header.write(entry.name, 0)
  header.write(octal(entry.mode ?? 0o644, 8), 100)
  header.write(octal(entry.uid ?? 0, 8), 108)
  header.write(octal(entry.gid ?? 0, 8), 116)
  header.write(octal(entry.size ?? data.length, 12), 124)
  header.write(octal(entry.mtime ?? 1, 12), 136)
  header.write(' '.repeat(8), 148)
  header.write(entry.type ?? '0', 156)
  header.write(entry.linkName ?? '', 157)
  header.write('ustar\x0000', 257, 'latin1')
  header.write(octal(entry.major ?? 0, 8), 329)
  header.write(octal(entry.minor ?? 0, 8), 337)
  entry.raw?.(header)
  const sum = header.reduce((sum, byte) => sum + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return Buffer.concat([header, data, Buffer.alloc((512 - (data.length % 512)) % 512)])
}

export function tar(...entries: Entry[]): Buffer {
  return Buffer.concat([...entries.map(tarEntry), Buffer.alloc(1024)])
}

export function pax(fields: Record<string, string>): Entry {
  const records = Object.entries(fields).map(([key, value]) => {
    const rest = ` ${key}=${value}\n`
    let length = Buffer.byteLength(rest)
    while (String(length).length + Buffer.byteLength(rest) !== length) {
      length = String(length).length + Buffer.byteLength(rest)
    }
    return `${length}${rest}`
  })
  return { name: 'pax', type: 'x', data: records.join('') }
}
