import {
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
} from '../../lib/devices/virtio/abi.js'
import type { GuestMemory } from '../../lib/memory/guest-memory.js'
import { type Allocator, type Segment, writableLength } from './virtio-driver.js'

const AVAIL = 1 << 7
const USED = 1 << 15
const EVENT_FLAGS_ENABLE = 0
const EVENT_FLAGS_DESC = 2

/** The guest's side of a packed virtqueue, in the way of a driver that does what the specification says. */
export class PackedDriverQueue {
  readonly size: number
  readonly descriptorArea: number
  readonly driverArea: number
  readonly deviceArea: number
  readonly #memory: GuestMemory
  readonly #ids: number[]
  readonly #counts = new Map<number, number>()
  #next = 0
  #wrap = 1
  #used = 0
  #usedWrap = 1
  free: number
  /** With VIRTIO_F_IN_ORDER: the chains in flight, as an entry that skips some is taken to have used them. */
  inOrder = false
  #order: { id: number; length: number }[] = []
  entriesRead = 0
  /** Entries, since it was made. */
  added = 0

  constructor(memory: GuestMemory, allocator: Allocator, size: number) {
    this.#memory = memory
    this.size = size
    this.free = size
    this.#ids = Array.from({ length: size }, (_, i) => size - 1 - i)
    this.descriptorArea = allocator.take(16 * size, 16)
    this.driverArea = allocator.take(4, 4)
    this.deviceArea = allocator.take(4, 4)
    memory.fill(this.descriptorArea, 16 * size)
    memory.fill(this.driverArea, 4)
    memory.fill(this.deviceArea, 4)
  }

  /** Writes a ring entry as it is told. */
  setEntry(
    slot: number,
    address: number | bigint,
    length: number,
    id: number,
    flags: number,
  ): void {
    const view = this.#memory.dataView(this.descriptorArea + 16 * slot, 16)
    view.setBigUint64(0, BigInt(address), true)
    view.setUint32(8, length, true)
    view.setUint16(12, id, true)
    view.setUint16(14, flags, true)
  }

  add(segments: readonly Segment[], indirectTable?: number): number {
    const id = this.#ids.pop()
    if (id === undefined) throw new Error('no free buffer ID')
    let entries = segments.map(({ address, length, writable }) => ({
      address,
      length,
      flags: writable ? VIRTQ_DESC_F_WRITE : 0,
    }))
    if (indirectTable !== undefined) {
      entries.forEach(({ address, length, flags }, i) => {
        const view = this.#memory.dataView(indirectTable + 16 * i, 16)
        view.setBigUint64(0, BigInt(address), true)
        view.setUint32(8, length, true)
        view.setUint32(12, flags << 16, true)
      })
      entries = [
        { address: indirectTable, length: 16 * segments.length, flags: VIRTQ_DESC_F_INDIRECT },
      ]
    }
    if (entries.length > this.free) throw new Error('no free entries')
    entries.forEach(({ address, length, flags }, i) => {
      const next = i < entries.length - 1 ? VIRTQ_DESC_F_NEXT : 0
      this.added++
      this.setEntry(this.#next, address, length, id, flags | next | (this.#wrap ? AVAIL : USED))
      if (++this.#next === this.size) {
        this.#next = 0
        this.#wrap ^= 1
      }
    })
    this.free -= entries.length
    this.#counts.set(id, entries.length)
    this.#order.push({ id, length: writableLength(segments) })
    return id
  }

  /** Whether the device asks for a kick for the entries from the `since`th that were added (2.8.10). */
  wantsKick(since: number): boolean {
    const view = this.#memory.dataView(this.deviceArea, 4)
    const flags = view.getUint16(2, true)
    if (flags !== EVENT_FLAGS_DESC) return flags === EVENT_FLAGS_ENABLE
    const event = view.getUint16(0, true)
    for (let i = since; i < this.added; i++) {
      const wrap = Math.floor(i / this.size) % 2 === 0 ? 1 : 0
      if (event === ((i % this.size) | (wrap << 15))) return true
    }
    return false
  }

  used(): { id: number; length: number }[] {
    const found: { id: number; length: number }[] = []
    for (;;) {
      const view = this.#memory.dataView(this.descriptorArea + 16 * this.#used, 16)
      const flags = view.getUint16(14, true)
      const isUsed =
        ((flags & AVAIL) !== 0) === ((flags & USED) !== 0) &&
        ((flags & USED) !== 0) === (this.#usedWrap === 1)
      if (!isUsed || found.length > this.size) return found
      const id = view.getUint16(12, true)
      this.entriesRead++
      const at = this.#order.findIndex((chain) => chain.id === id)
      if (at < 0) throw new Error(`buffer ID ${id} was used, which is not in flight`)
      const batch = this.inOrder ? this.#order.splice(0, at + 1) : this.#order.splice(at, 1)
      batch.at(-1)!.length = view.getUint32(8, true)
      found.push(...batch)
      for (const chain of batch) this.#give(chain.id)
    }
  }

  #give(id: number): void {
    const count = this.#counts.get(id)!
    this.#counts.delete(id)
    this.#ids.push(id)
    this.free += count
    this.#used += count
    if (this.#used >= this.size) {
      this.#used -= this.size
      this.#usedWrap ^= 1
    }
  }

  /** When the device wants a kick: desc and flags. */
  get deviceEvent(): [offset: number, flags: number] {
    const view = this.#memory.dataView(this.deviceArea, 4)
    return [view.getUint16(0, true), view.getUint16(2, true)]
  }

  setDriverEvent(offset: number, flags: number): void {
    const view = this.#memory.dataView(this.driverArea, 4)
    view.setUint16(0, offset, true)
    view.setUint16(2, flags, true)
  }
}
