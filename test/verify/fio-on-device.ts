import { execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdirSync, read } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import {
  FUSE_ASYNC_READ,
  FUSE_BIG_WRITES,
  FUSE_MAX_PAGES,
} from '../../lib/backends/share/fuse-abi.js'
import {
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_INDIRECT_DESC,
} from '../../lib/devices/virtio/abi.js'
import * as blk from '../../lib/devices/virtio/block/abi.js'
import { BlockRig } from '../helpers/block-driver.js'
// @ts-expect-error: plain JavaScript, as the program is that shares it
import * as fuse from '../helpers/fuse-protocol.mjs'
import { nativeMemory } from '../helpers/guest-memories.js'
import { type RingDriver, type RingLayout, startRing } from '../helpers/ring-driver.js'
import type { Ring } from './block-operations.js'
import { diskOf, type Engine } from './verified-disks.js'

export interface FioVerification {
  readonly engine: Engine
  readonly ring: Ring
  readonly bytes: number
  readonly folder: string
  /** The program, and its arguments but for the file. */
  readonly fio: readonly string[]
}

export interface FioVerdict {
  readonly engine: string
  readonly writes: number
  readonly reads: number
  /** fio found what it had written, and nothing else went wrong. */
  readonly good: boolean
  readonly output: string
}

// INIT's flags (linux/fuse.h)
const FUSE_ASYNC_DIO = 1 << 15
const FLAGS = FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_ASYNC_DIO | FUSE_MAX_PAGES
const PAGE = 4096
const TRANSFER_MAX = 2 ** 20
const SEGMENT = 2 ** 17
/** Requests served at the same time. */
const LANES = 8
const QUEUE_SIZE = 256
/** Of one lane in guest memory: header, status, indirect table, data. */
const LANE_SIZE = TRANSFER_MAX + 2 * PAGE
const STATUS_AT = 16
const TABLE_AT = 32
const DATA_AT = PAGE
const LANES_AT = 0x40000

const { EIO, ENOENT, ENOSYS } = constants.errno
const readAsync = promisify(read)
const execFileAsync = promisify(execFile)

/**
 * fio on a file of a FUSE file system, every read, write and fsync of which is a request on the ring of a virtio disk:
 * a guest's driver that any program of the host's can be given as a workload. Needs the privileges to mount.
 */
export async function verifyWithFio(verification: FioVerification): Promise<FioVerdict> {
  const { engine, ring, bytes, folder, fio } = verification
  const disk = diskOf(engine, folder, bytes)
  await disk.open()
  const memory = nativeMemory([0, LANES_AT + LANES * LANE_SIZE])
  const rig = new BlockRig(disk, memory, { inOrder: true, queueSize: QUEUE_SIZE })
  const mountPoint = join(folder, 'mnt')
  mkdirSync(mountPoint, { recursive: true })
  const server = new FileServer(rig, ring, bytes)
  try {
    const done = server.mount(mountPoint)
    const [program, ...args] = fio
    const child = spawn(program!, [...args, `--filename=${join(mountPoint, 'disk')}`], {
      cwd: folder, // where it leaves notes of a failure
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (data: Buffer) => {
        output += data
      })
    }
    const [status] = (await once(child, 'close')) as [number | null]
    await execFileAsync('umount', [mountPoint]) // which asks us
    await done
    const { errors, writes, reads } = rig.device.counters
    const good = status === 0 && errors === 0 && rig.reasons.length + rig.errors.length === 0
    return { engine: rig.device.engine, writes, reads, good, output }
  } finally {
    server.close()
    spawnSync('umount', ['-l', mountPoint], { stdio: 'ignore' })
    await rig.close()
  }
}

class FileServer {
  readonly #rig: BlockRig
  readonly #queue: RingDriver
  readonly #bytes: number
  readonly #waiting = new Map<number, () => void>()
  #fd = -1
  #lane = 0

  constructor(rig: BlockRig, ring: Ring, bytes: number) {
    this.#rig = rig
    this.#bytes = bytes
    const layout: RingLayout = ring.startsWith('split') ? 'split' : 'packed'
    this.#queue = startRing(rig, layout, QUEUE_SIZE, [
      VIRTIO_F_INDIRECT_DESC,
      VIRTIO_F_EVENT_IDX,
      blk.VIRTIO_BLK_F_FLUSH,
      ...(ring.endsWith('in-order') ? [VIRTIO_F_IN_ORDER] : []),
    ])
  }

  /** @returns what resolves once it is unmounted. @throws Error if it cannot be mounted */
  mount(folder: string): Promise<unknown> {
    this.#fd = fuse.mountFuse(folder)
    return Promise.all(Array.from({ length: LANES }, (_, lane) => this.#serve(lane)))
  }

  close(): void {
    if (this.#fd >= 0) closeSync(this.#fd)
    this.#fd = -1
  }

  /** One request after the other, until the file system is unmounted. */
  async #serve(lane: number): Promise<void> {
    const message = Buffer.alloc(TRANSFER_MAX + PAGE)
    for (;;) {
      try {
        const { bytesRead } = await readAsync(this.#fd, message, 0, message.length, null)
        await this.#answer(message.subarray(0, bytesRead), lane)
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException
        if (code === 'ENODEV') return
        // ENOENT: a request that was given up before it was read.
        if (code !== 'EINTR' && code !== 'ENOENT') throw error
      }
    }
  }

  async #answer(message: Buffer, lane: number): Promise<void> {
    const asked = fuse.parseRequest(message)
    if (asked === undefined) return
    const { opcode, unique, node, input } = asked
    const result = fuse.answerOf(opcode, node, this.#bytes) ?? (await this.#do(opcode, input, lane))
    fuse.reply(this.#fd, unique, result)
  }

  /** An errno, or the bytes of the answer. */
  async #do(opcode: number, input: Buffer, lane: number): Promise<number | Uint8Array> {
    switch (opcode) {
      case fuse.INIT: {
        const body = fuse.initAnswer(TRANSFER_MAX, TRANSFER_MAX)
        body.writeUInt32LE(FLAGS, 12)
        body.writeUInt16LE(LANES, 16)
        body.writeUInt16LE(LANES, 18)
        body.writeUInt16LE(TRANSFER_MAX / PAGE, 28)
        return body
      }
      case fuse.LOOKUP: {
        const found = input.subarray(0, -1).toString() === 'disk'
        return found ? fuse.entryAnswer(2, this.#bytes) : ENOENT
      }
      case fuse.READ:
        return await this.#read(lane, Number(input.readBigUInt64LE(8)), input.readUInt32LE(16))
      case fuse.WRITE:
        return await this.#write(lane, Number(input.readBigUInt64LE(8)), input)
      case fuse.FSYNC:
        return (await this.#request(lane, blk.VIRTIO_BLK_T_FLUSH, 0, 0)) ? 0 : EIO
      default:
        return ENOSYS
    }
  }

  async #read(lane: number, offset: number, wanted: number): Promise<number | Uint8Array> {
    const length = Math.min(wanted, this.#bytes - offset)
    const { memory } = this.#rig
    const at = this.#at(lane) + DATA_AT
    memory.fill(at, length, 0xa5)
    const done = await this.#request(lane, blk.VIRTIO_BLK_T_IN, offset, length)
    return done ? memory.view(at, length) : EIO
  }

  async #write(lane: number, offset: number, input: Buffer): Promise<number | Uint8Array> {
    const length = input.readUInt32LE(16)
    this.#rig.memory.write(this.#at(lane) + DATA_AT, input.subarray(40, 40 + length))
    if (!(await this.#request(lane, blk.VIRTIO_BLK_T_OUT, offset, length))) return EIO
    return fuse.writeAnswer(length)
  }

  /** @returns whether the device did it, all of it */
  async #request(lane: number, type: number, offset: number, length: number): Promise<boolean> {
    const { memory, driver } = this.#rig
    const slot = this.#at(lane)
    const writable = type === blk.VIRTIO_BLK_T_IN
    const segments = []
    for (let at = 0; at < length; at += SEGMENT) {
      const bytes = Math.min(SEGMENT, length - at)
      segments.push({ address: slot + DATA_AT + at, length: bytes, writable })
    }
    this.#rig.header(type, offset / 512, slot)
    memory.fill(slot + STATUS_AT, 1, 0xee)
    const chain = [
      { address: slot, length: 16 },
      ...segments,
      { address: slot + STATUS_AT, length: 1, writable: true },
    ]
    // Both kinds of chains, by turns.
    const id = this.#queue.add(chain, this.#lane++ % 2 === 0 ? slot + TABLE_AT : undefined)
    const used = new Promise<void>((resolve) => this.#waiting.set(id, resolve))
    driver.kick(0)
    this.#collect()
    await used
    return memory.read(slot + STATUS_AT, 1)[0] === blk.VIRTIO_BLK_S_OK
  }

  /** What is done is told of; what is not is looked for in a later turn of the event loop. */
  #collect(): void {
    for (const { id } of this.#queue.used()) {
      const tell = this.#waiting.get(id)!
      this.#waiting.delete(id)
      tell()
    }
    if (this.#waiting.size > 0) setImmediate(() => this.#collect())
  }

  #at(lane: number): number {
    return LANES_AT + lane * LANE_SIZE
  }
}
