import { constants } from 'node:os'
import * as abi from '../../../lib/backends/share/fuse-abi.js'
import type { ShareBackend } from '../../../lib/backends/share/share-backend.js'

export const u32 = (...words: number[]) => {
  const bytes = Buffer.alloc(words.length * 4)
  for (const [i, word] of words.entries()) bytes.writeUInt32LE(word >>> 0, i * 4)
  return bytes
}
export const u64 = (...words: number[]) => {
  const bytes = Buffer.alloc(words.length * 8)
  for (const [i, word] of words.entries()) bytes.writeBigUInt64LE(BigInt(word), i * 8)
  return bytes
}
export const names = (...texts: string[]) => Buffer.from(texts.map((text) => `${text}\0`).join(''))

const errnoName = (errno: number) =>
  Object.entries(constants.errno).find(([, value]) => value === errno)?.[0] ?? `${errno}`

let unique = 1n

export function message(opcode: number, nodeId: number, ...body: Buffer[]): Buffer {
  const content = Buffer.concat(body)
  const header = Buffer.alloc(abi.IN_HEADER_SIZE)
  header.writeUInt32LE(header.length + content.length, 0)
  header.writeUInt32LE(opcode, 4)
  header.writeBigUInt64LE(unique++, 8)
  header.writeBigUInt64LE(BigInt(nodeId), 16)
  return Buffer.concat([header, content])
}

/** A guest's file system, as far as it talks to the host. */
export class FuseClient {
  constructor(readonly backend: ShareBackend) {}

  /** The answer's body. @throws Error whose message is the errno's name */
  async call(opcode: number, nodeId: number, ...body: Buffer[]): Promise<Buffer> {
    const answer = await this.backend.handle(message(opcode, nodeId, ...body), 2 ** 20 + 16)
    if (!answer) throw new Error('no answer')
    const errno = answer.readInt32LE(4)
    if (errno !== 0) throw new Error(errnoName(-errno))
    return answer.subarray(abi.OUT_HEADER_SIZE)
  }

  async lookup(name: string, parent = 1): Promise<{ id: number; mode: number; size: number }> {
    return entry(await this.call(abi.FUSE_LOOKUP, parent, names(name)))
  }

  /** Follows a path of plain names. */
  async walk(path: string): Promise<number> {
    let id = 1
    for (const name of path.split('/').filter((part) => part !== '')) {
      id = (await this.lookup(name, id)).id
    }
    return id
  }

  async open(id: number, flags = 0): Promise<number> {
    return Number((await this.call(abi.FUSE_OPEN, id, u32(flags, 0))).readBigUInt64LE(0))
  }

  async create(
    name: string,
    parent = 1,
    mode = 0o644,
    flags = 2,
  ): Promise<{ id: number; handle: number }> {
    const body = await this.call(abi.FUSE_CREATE, parent, u32(flags, mode, 0o022, 0), names(name))
    return { id: entry(body).id, handle: Number(body.readBigUInt64LE(abi.ENTRY_OUT_SIZE)) }
  }

  read(id: number, handle: number, offset = 0, size = 65536): Promise<Buffer> {
    return this.call(abi.FUSE_READ, id, u64(handle, offset), u32(size, 0), u64(0), u32(0, 0))
  }

  async write(id: number, handle: number, data: string, offset = 0): Promise<number> {
    const head = [u64(handle, offset), u32(data.length, 0), u64(0), u32(0, 0)]
    return (await this.call(abi.FUSE_WRITE, id, ...head, Buffer.from(data))).readUInt32LE(0)
  }

  async list(id: number): Promise<string[]> {
    const handle = Number((await this.call(abi.FUSE_OPENDIR, id, u32(0, 0))).readBigUInt64LE(0))
    const found: string[] = []
    for (let offset = 0; ; ) {
      const bytes = await this.call(
        abi.FUSE_READDIR,
        id,
        u64(handle, offset),
        u32(300, 0),
        u64(0),
        u32(0, 0),
      )
      if (bytes.length === 0) break
      for (let at = 0; at < bytes.length; ) {
        const length = bytes.readUInt32LE(at + 16)
        offset = Number(bytes.readBigUInt64LE(at + 8))
        found.push(bytes.toString('utf8', at + 24, at + 24 + length))
        at += Math.ceil((24 + length) / 8) * 8
      }
    }
    await this.call(abi.FUSE_RELEASEDIR, id, u64(handle, 0), u32(0, 0))
    return found.sort()
  }

  release(id: number, handle: number): Promise<Buffer> {
    return this.call(abi.FUSE_RELEASE, id, u64(handle, 0), u32(0, 0))
  }
}

function entry(body: Buffer) {
  return {
    id: Number(body.readBigUInt64LE(0)),
    size: Number(body.readBigUInt64LE(40 + 8)),
    mode: body.readUInt32LE(40 + 60),
  }
}
