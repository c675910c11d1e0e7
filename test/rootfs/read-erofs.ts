import { readFileSync } from 'node:fs'

/** What an image has at a path, as its own fields say. */
export interface ErofsFile {
  mode: number
  uid: number
  gid: number
  mtime: number
  links: number
  device: number
  ino: number
  data: Buffer
}

/** Everything in an EROFS image, by path, read as Documentation/filesystems/erofs.rst has it. */
export function readErofs(path: string): Map<string, ErofsFile> {
  const image = readFileSync(path)
  if (image.readUInt32LE(1024) !== 0xe0f5e1e2) throw new Error('no EROFS')
  const metadata = image.readUInt32LE(1024 + 40) * 4096
  const files = new Map<string, ErofsFile>()
  const inode = (nid: number): ErofsFile => {
    const at = metadata + nid * 32
    const format = image.readUInt16LE(at)
    if ((format & 1) !== 1) throw new Error('a compact inode')
    const mode = image.readUInt16LE(at + 4)
    const size = Number(image.readBigUInt64LE(at + 8))
    const start = format >> 1 === 2 ? at + 64 : image.readUInt32LE(at + 16) * 4096
    const isDevice = (mode & 0o170000) === 0o020000 || (mode & 0o170000) === 0o060000
    if (format >> 1 === 2 && Math.floor(at / 4096) !== Math.floor((at + 63 + size) / 4096)) {
      throw new Error('inline data over the end of a block')
    }
    return {
      mode,
      uid: image.readUInt32LE(at + 24),
      gid: image.readUInt32LE(at + 28),
      mtime: Number(image.readBigUInt64LE(at + 32)),
      links: image.readUInt32LE(at + 44),
      device: isDevice ? image.readUInt32LE(at + 16) : 0,
      ino: nid,
      data: image.subarray(start, start + size),
    }
  }
  const walk = (nid: number, path: string, parent: number): void => {
    const file = inode(nid)
    files.set(path, file)
    if ((file.mode & 0o170000) !== 0o040000) return
    let before = Buffer.alloc(0)
    for (let base = 0; base < file.data.length; base += 4096) {
      const block = file.data.subarray(base, base + 4096)
      const count = block.readUInt16LE(8) / 12
      for (let i = 0; i < count; i++) {
        const child = Number(block.readBigUInt64LE(i * 12))
        const start = block.readUInt16LE(i * 12 + 8)
        const rest =
          i + 1 < count
            ? block.subarray(start, block.readUInt16LE(i * 12 + 20))
            : block.subarray(start)
        const zero = rest.indexOf(0)
        const name = Buffer.from(zero < 0 ? rest : rest.subarray(0, zero))
        if (Buffer.compare(before, name) >= 0) throw new Error(`${path}: names out of order`)
        before = name
        const type = [0, 8, 4, 2, 6, 1, 12, 10][block[i * 12 + 10]!]! * 4096
        if ((inode(child).mode & 0o170000) !== type) throw new Error(`${name}: another type`)
        if (name.toString() === '.' && child !== nid) throw new Error('.')
        if (name.toString() === '..' && child !== parent) throw new Error('..')
        if (!['.', '..'].includes(name.toString())) {
          walk(child, path === '' ? name.toString() : `${path}/${name}`, nid)
        }
      }
    }
  }
  const root = image.readUInt16LE(1024 + 14)
  walk(root, '', root)
  return files
}
