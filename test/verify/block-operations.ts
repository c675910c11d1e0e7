import {
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_INDIRECT_DESC,
} from '../../lib/devices/virtio/abi.js'
import * as blk from '../../lib/devices/virtio/block/abi.js'
import { BlockRig } from '../helpers/block-driver.js'
import { nativeMemory } from '../helpers/guest-memories.js'
import { type RandomNumbers, randomNumbers } from '../helpers/random-numbers.js'
import { type RingDriver, type RingLayout, startRing } from '../helpers/ring-driver.js'
import { type Segment, turns } from '../helpers/virtio-driver.js'
import { DiskModel } from './disk-model.js'
import { diskOf, type Engine } from './verified-disks.js'

export const RINGS = ['split', 'split-in-order', 'packed', 'packed-in-order'] as const
export type Ring = (typeof RINGS)[number]

export interface Verification {
  readonly engine: Engine
  readonly ring: Ring
  readonly operations: number
  readonly seed: number
  /** For the disk's image. */
  readonly folder: string
  /** Told of the operations done so far, now and then. */
  readonly progress?: (done: number) => void
}

export interface Verdict {
  /** What moved the data, as the device reports it. */
  readonly engine: string
  readonly operations: number
  readonly bytes: number
  /** Used entries that the driver had to read: with VIRTIO_F_IN_ORDER fewer than operations. */
  readonly usedEntries: number
  /** Sectors that were not what the model says, requests with another status than OK, and used lengths that were wrong. */
  readonly mismatches: number
}

const SECTORS = 8192
const DEPTH = 32
const QUEUE_SIZE = 256
const RAM = 0x400000
/** One slot for each request in flight: header, status, indirect table, data. */
const SLOTS = 0x40000
const SLOT_SIZE = 0x14000
const STATUS_AT = 16
const TABLE_AT = 32
const DATA_AT = 0x200
/** The longest request, longer than what an engine does at once. */
const SECTORS_MAX = 144
const CUTS_MAX = 4
const POOL = 2 ** 20

type Kind = 'read' | 'write' | 'flush' | 'zero' | 'discard'

interface Request {
  readonly kind: Kind
  readonly first: number
  readonly count: number
  readonly slot: number
  readonly segments: readonly Segment[]
}

/** Random requests of a guest's, up to 32 in flight, whose results must be those of a model in memory. */
export async function verifyBlock(verification: Verification): Promise<Verdict> {
  const { engine, ring, operations, folder, progress } = verification
  const disk = diskOf(engine, folder, SECTORS * 512)
  await disk.open()
  const rig = new BlockRig(disk, nativeMemory([0, RAM]), { inOrder: true, queueSize: QUEUE_SIZE })
  try {
    const run = new Run(rig, ring, verification.seed)
    for (let done = 0; done < operations; ) {
      done += run.start(operations - run.started)
      if (!(await run.finish())) throw new Error(`${rig.reasons[0] ?? rig.errors[0]?.message}`)
      if (done % 10_000 < DEPTH) progress?.(done)
    }
    await run.finishAll()
    await run.readAll()
    const { bytes, mismatches, started, usedEntries } = run
    return { engine: rig.device.engine, operations: started, bytes, usedEntries, mismatches }
  } finally {
    await rig.close()
  }
}

class Run {
  started = 0
  bytes = 0
  mismatches = 0
  readonly #rig: BlockRig
  readonly #queue: RingDriver
  readonly #random: RandomNumbers
  readonly #model = new DiskModel(SECTORS)
  readonly #pool: Uint8Array
  readonly #slots = Array.from({ length: DEPTH }, (_, i) => SLOTS + i * SLOT_SIZE)
  readonly #inFlight = new Map<number, Request>()

  constructor(rig: BlockRig, ring: Ring, seed: number) {
    this.#rig = rig
    this.#random = randomNumbers(seed)
    this.#pool = Uint8Array.from({ length: POOL }, () => this.#random(256))
    const layout: RingLayout = ring.startsWith('split') ? 'split' : 'packed'
    this.#queue = startRing(rig, layout, QUEUE_SIZE, [
      VIRTIO_F_INDIRECT_DESC,
      VIRTIO_F_EVENT_IDX,
      blk.VIRTIO_BLK_F_FLUSH,
      blk.VIRTIO_BLK_F_DISCARD,
      blk.VIRTIO_BLK_F_WRITE_ZEROES,
      ...(ring.endsWith('in-order') ? [VIRTIO_F_IN_ORDER] : []),
    ])
  }

  get usedEntries(): number {
    return this.#queue.entriesRead()
  }

  /** Begins up to `most` requests and kicks. @returns how many */
  start(most: number): number {
    const before = this.started
    for (let tries = 0; tries < DEPTH && this.started - before < most; tries++) {
      if (this.#slots.length === 0 || this.#queue.room() < CUTS_MAX + 2) break
      this.#begin()
    }
    this.#rig.driver.kick(0)
    return this.started - before
  }

  /** Takes what is done, and waits for something if nothing is. @returns `false` if the device has stopped */
  async finish(): Promise<boolean> {
    for (;;) {
      const used = this.#queue.used()
      for (const { id, length } of used) this.#end(id, length)
      if (used.length > 0 || this.#inFlight.size === 0) return true
      if (this.#rig.reasons.length > 0 || this.#rig.errors.length > 0) return false
      await turns(1)
    }
  }

  async finishAll(): Promise<void> {
    while (this.#inFlight.size > 0 && (await this.finish()));
  }

  /** Compares the whole disk. */
  async readAll(): Promise<void> {
    for (let first = 0; first < SECTORS; first += 128) {
      this.#submit('read', first, 128, [128 * 512])
      this.#rig.driver.kick(0)
      await this.finishAll()
    }
  }

  #begin(): void {
    const random = this.#random
    const kind = this.#kind()
    const most = random(16) === 0 ? SECTORS_MAX : 16
    const count = kind === 'flush' ? 0 : 1 + random(most)
    const first = random(SECTORS - count)
    if (!this.#model.begin(first, count, kind !== 'read')) return
    this.#submit(kind, first, count, this.#cuts(kind, count * 512))
    this.started++
  }

  #kind(): Kind {
    const roll = this.#random(100)
    if (roll < 46) return 'read'
    if (roll < 90) return 'write'
    if (roll < 93) return 'flush'
    if (!this.#rig.backend.writesZeroes) return 'read'
    return roll < 98 ? 'zero' : 'discard'
  }

  /** Lengths of the segments: any, which add up. */
  #cuts(kind: Kind, length: number): number[] {
    if (kind === 'flush') return []
    if (kind === 'zero' || kind === 'discard') return [16]
    const cuts: number[] = []
    let left = length
    for (let n = this.#random(CUTS_MAX); n > 0 && left > 1; n--) {
      const cut = 1 + this.#random(left - 1)
      cuts.push(cut)
      left -= cut
    }
    return [...cuts, left]
  }

  #submit(kind: Kind, first: number, count: number, cuts: readonly number[]): void {
    const { memory } = this.#rig
    const slot = this.#slots.pop()!
    this.#rig.header(TYPES[kind], first, slot)
    memory.fill(slot + STATUS_AT, 1, 0xee)
    let at = slot + DATA_AT
    const segments = cuts.map((length) => {
      const address = at + this.#random(16)
      at = address + length
      return { address, length, writable: kind === 'read' }
    })
    const request = { kind, first, count, slot, segments }
    this.#fill(request)
    const id = this.#queue.add(
      [
        { address: slot, length: 16 },
        ...segments,
        { address: slot + STATUS_AT, length: 1, writable: true },
      ],
      this.#random(2) === 0 ? slot + TABLE_AT : undefined,
    )
    this.#inFlight.set(id, request)
  }

  /** What the guest's memory holds before a request, and the model after it. */
  #fill({ kind, first, count, segments }: Request): void {
    const { memory } = this.#rig
    const address = segments[0]?.address as number
    if (kind === 'write') {
      const from = this.#random(POOL - count * 512)
      const data = this.#pool.subarray(from, from + count * 512)
      let at = 0
      for (const { address, length } of segments) {
        memory.write(address as number, data.subarray(at, at + length))
        at += length
      }
      this.#model.write(first, data)
    } else if (kind === 'read') {
      for (const { address, length } of segments) memory.fill(address as number, length, 0xa5)
    } else if (kind !== 'flush') {
      const view = memory.dataView(address, 16)
      view.setBigUint64(0, BigInt(first), true)
      view.setUint32(8, count, true)
      view.setUint32(12, kind === 'zero' ? this.#random(2) : 0, true)
      if (kind === 'zero') this.#model.zero(first, count)
      else this.#model.discard(first, count)
    }
  }

  #end(id: number, length: number): void {
    const request = this.#inFlight.get(id)!
    const { kind, first, count, slot, segments } = request
    this.#inFlight.delete(id)
    this.#slots.push(slot)
    const { memory } = this.#rig
    if (memory.read(slot + STATUS_AT, 1)[0] !== blk.VIRTIO_BLK_S_OK) this.mismatches++
    if (length !== (kind === 'read' ? count * 512 + 1 : 1)) this.mismatches++
    this.bytes += count * 512
    if (kind === 'read') {
      const parts = segments.map(({ address, length }) => memory.view(address as number, length))
      const data = parts.length === 1 ? parts[0]! : Buffer.concat(parts)
      this.mismatches += this.#model.mismatches(first, data)
    }
    this.#model.end(first, count, kind !== 'read')
  }
}

const TYPES = {
  read: blk.VIRTIO_BLK_T_IN,
  write: blk.VIRTIO_BLK_T_OUT,
  flush: blk.VIRTIO_BLK_T_FLUSH,
  zero: blk.VIRTIO_BLK_T_WRITE_ZEROES,
  discard: blk.VIRTIO_BLK_T_DISCARD,
}
