import type { StatsFs } from 'node:fs'
import { constants } from 'node:os'
import {
  ATTR_SIZE,
  FUSE_ASYNC_READ,
  FUSE_BIG_WRITES,
  FUSE_KERNEL_MINOR_VERSION,
  FUSE_KERNEL_VERSION,
  FUSE_MAX_PAGES,
  FUSE_PARALLEL_DIROPS,
  IN_HEADER_SIZE,
  OUT_HEADER_SIZE,
} from './fuse-abi.js'

type ErrnoName = keyof typeof constants.errno

/** A request that cannot be done: the guest sees the errno. */
export class FuseError extends Error {
  readonly errno: number
  constructor(code: ErrnoName) {
    super(code)
    this.errno = -constants.errno[code]
  }
}

/** The fields of a request. Reading beyond its end is EINVAL. */
export class FuseRequest {
  readonly opcode: number
  readonly unique: bigint
  readonly nodeId: number
  readonly body: Buffer

  /** @throws FuseError for one without a whole header */
  constructor(bytes: Buffer) {
    if (bytes.length < IN_HEADER_SIZE) throw new FuseError('EINVAL')
    this.opcode = bytes.readUInt32LE(4)
    this.unique = bytes.readBigUInt64LE(8)
    this.nodeId = number64(bytes, 16)
    this.body = bytes.subarray(IN_HEADER_SIZE)
  }

  u32(offset: number): number {
    this.#check(offset, 4)
    return this.body.readUInt32LE(offset)
  }

  /** @throws FuseError also for what is not below 2^53 */
  u64(offset: number): number {
    this.#check(offset, 8)
    return number64(this.body, offset)
  }

  /** Strings that follow at `offset`, each with its NUL, as their bytes: a name need not be UTF-8. */
  strings(offset: number, count: number): string[] {
    const strings: string[] = []
    for (let at = offset; strings.length < count; ) {
      const end = at < this.body.length ? this.body.indexOf(0, at) : -1
      if (end < 0) throw new FuseError('EINVAL')
      strings.push(this.body.toString('latin1', at, end))
      at = end + 1
    }
    return strings
  }

  #check(offset: number, length: number): void {
    if (offset > this.body.length - length) throw new FuseError('EINVAL')
  }
}

function number64(bytes: Buffer, offset: number): number {
  const high = bytes.readUInt32LE(offset + 4)
  if (high >= 2 ** 21) throw new FuseError('EINVAL')
  return high * 2 ** 32 + bytes.readUInt32LE(offset)
}

export function reply(unique: bigint, body: Uint8Array): Buffer {
  const bytes = Buffer.alloc(OUT_HEADER_SIZE + body.length)
  bytes.writeUInt32LE(bytes.length, 0)
  bytes.writeBigUInt64LE(unique, 8)
  bytes.set(body, OUT_HEADER_SIZE)
  return bytes
}

export function errorReply(unique: bigint, error: unknown): Buffer {
  const bytes = reply(unique, new Uint8Array(0))
  bytes.writeInt32LE(errnoOf(error), 4)
  return bytes
}

/** Negative, as Node has it and FUSE wants it. */
function errnoOf(error: unknown): number {
  const { errno } = error as { errno?: unknown }
  const fits = typeof errno === 'number' && errno < 0 && errno > -512
  return fits ? errno : -constants.errno.EIO
}

/** What fs.lstat gives with `bigint`. */
export interface Status {
  readonly ino: bigint
  readonly size: bigint
  readonly blocks: bigint
  readonly atimeNs: bigint
  readonly mtimeNs: bigint
  readonly ctimeNs: bigint
  readonly mode: bigint
  readonly nlink: bigint
  readonly uid: bigint
  readonly gid: bigint
  readonly blksize: bigint
}

const NS = 1_000_000_000n

/** struct fuse_attr */
function writeAttr(into: Buffer, at: number, status: Status): void {
  const words64 = [
    status.ino,
    status.size,
    status.blocks,
    ...[status.atimeNs / NS, status.mtimeNs / NS, status.ctimeNs / NS],
  ]
  for (const [i, word] of words64.entries()) {
    into.writeBigUInt64LE(BigInt.asUintN(64, word), at + i * 8)
  }
  const words32 = [
    ...[status.atimeNs % NS, status.mtimeNs % NS, status.ctimeNs % NS],
    ...[status.mode, status.nlink, status.uid, status.gid],
    // A device's number would be of no use: the guest cannot open it here.
    ...[0n, status.blksize, 0n],
  ]
  for (const [i, word] of words32.entries()) {
    into.writeUInt32LE(Number(BigInt.asUintN(32, word)), at + 48 + i * 4)
  }
}

/** Seconds for which the guest takes names and attributes as it has seen them: what changes on the host shows then. */
const VALID_SECONDS = 1n

export function attrOut(status: Status): Buffer {
  const bytes = Buffer.alloc(16 + ATTR_SIZE)
  bytes.writeBigUInt64LE(VALID_SECONDS, 0)
  writeAttr(bytes, 16, status)
  return bytes
}

export function entryOut(nodeId: number, status: Status): Buffer {
  const bytes = Buffer.alloc(40 + ATTR_SIZE)
  bytes.writeBigUInt64LE(BigInt(nodeId), 0)
  bytes.writeBigUInt64LE(VALID_SECONDS, 16)
  bytes.writeBigUInt64LE(VALID_SECONDS, 24)
  writeAttr(bytes, 40, status)
  return bytes
}

/** Bytes of data in one request or reply, at most. */
export const PAYLOAD_MAX = 2 ** 20
const PAGES_MAX = 256
const OFFERED = FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES

/** struct fuse_init_out: what is offered of what the guest asks for. */
export function initOut(request: FuseRequest): Uint8Array {
  if (request.u32(0) < FUSE_KERNEL_VERSION) throw new FuseError('EPROTO')
  const bytes = Buffer.alloc(64)
  bytes.writeUInt32LE(FUSE_KERNEL_VERSION, 0)
  bytes.writeUInt32LE(FUSE_KERNEL_MINOR_VERSION, 4)
  bytes.writeUInt32LE(request.u32(8), 8)
  bytes.writeUInt32LE((request.u32(12) & OFFERED) >>> 0, 12)
  bytes.writeUInt32LE(PAYLOAD_MAX, 20)
  bytes.writeUInt32LE(1, 24)
  bytes.writeUInt16LE(PAGES_MAX, 28)
  return bytes
}

/** struct fuse_statfs_out */
export function statfsOut(status: StatsFs): Buffer {
  const { blocks, bfree, bavail, files, ffree, bsize } = status
  const bytes = Buffer.alloc(80)
  for (const [i, word] of [blocks, bfree, bavail, files, ffree].entries()) {
    bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(word)), i * 8)
  }
  bytes.writeUInt32LE(bsize, 40)
  bytes.writeUInt32LE(255, 44)
  bytes.writeUInt32LE(bsize, 48)
  return bytes
}

/** struct fuse_open_out */
export function openOut(handle: number): Buffer {
  const bytes = Buffer.alloc(16)
  bytes.writeBigUInt64LE(BigInt(handle), 0)
  return bytes
}

/** struct fuse_dirent, padded to eight bytes; `next` is the offset behind it. Its inode number is a mark that there is one. */
export function direntOut(name: Buffer, type: number, next: number): Buffer {
  const bytes = Buffer.alloc(Math.ceil((24 + name.length) / 8) * 8)
  bytes.writeBigUInt64LE(0xffffffffn, 0)
  bytes.writeBigUInt64LE(BigInt(next), 8)
  bytes.writeUInt32LE(name.length, 16)
  bytes.writeUInt32LE(type, 20)
  name.copy(bytes, 24)
  return bytes
}
