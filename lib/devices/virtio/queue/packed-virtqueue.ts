import { VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE } from '../abi.js'
import { DescriptorChain } from './descriptor-chain.js'
import { areaOf, type GuestAccess, guestAddress, readU32 } from './guest-access.js'
import type { QueueGeometry } from './queue-geometry.js'
import { type BatchSink, UsedOrder } from './used-order.js'
import {
  CHAIN_LENGTH_MAX,
  type RingFeatures,
  type Virtqueue,
  type VirtqueueEvents,
} from './virtqueue.js'

// Virtio 1.2, 2.8.1 and 2.8.10
const AVAIL = 1 << 7
const USED = 1 << 15
const RING_EVENT_FLAGS_ENABLE = 0
const RING_EVENT_FLAGS_DISABLE = 1
const RING_EVENT_FLAGS_DESC = 2

/**
 * A packed virtqueue (virtio 1.2, section 2.8): one ring of descriptors that driver and device write by turns, told
 * apart by two bits that change their sense each time round.
 *
 * As in the split queue, what the driver may change is read once, and our own positions are never read back.
 */
export class PackedVirtqueue implements Virtqueue {
  readonly index: number
  readonly size: number
  readonly idCount: number
  inFlight = 0
  stopped = false

  readonly #access: GuestAccess
  readonly #events: VirtqueueEvents
  readonly #indirect: boolean
  readonly #eventIdx: boolean
  readonly #chainCountMax: number

  readonly #words: Uint32Array
  readonly #halves: Uint16Array
  /** desc, flags: when the driver wants an interrupt */
  readonly #driverEvent: Uint16Array
  /** desc, flags: when we want a kick */
  readonly #deviceEvent: Uint16Array

  readonly #chain: DescriptorChain
  /** By buffer ID: the ring entries that the chain takes up, 0 if none is in flight. */
  readonly #entries: Uint16Array
  #entriesInFlight = 0
  readonly #order: UsedOrder | undefined
  readonly #sink: BatchSink = {
    free: (id) => this.#free(id),
    use: (id, written, entries) => this.#use(id, written, entries),
  }
  #nextAvail = 0
  #availWrap = 1
  #nextUsed = 0
  #usedWrap = 1
  /** Ring entries pushed and not yet shown; the flags of the first of them are written last. */
  #unshown = 0
  /** Ring entries shown that the driver has not been asked about, whether it wants an interrupt for them. */
  #unnotified = 0
  #firstSlot = 0
  #firstFlags = 0

  /** @param geometry checked by `brokenGeometryRule` */
  constructor(
    index: number,
    geometry: QueueGeometry,
    access: GuestAccess,
    features: RingFeatures,
    events: VirtqueueEvents,
  ) {
    const { size } = geometry
    this.index = index
    this.size = size
    this.idCount = size
    this.#access = access
    this.#events = events
    this.#indirect = features.indirect
    this.#eventIdx = features.eventIdx
    this.#chainCountMax = Math.max(size, features.chainCountMax)
    const ring = areaOf(access, geometry.descriptorArea, 16 * size)
    const driver = areaOf(access, geometry.driverArea, 4)
    const device = areaOf(access, geometry.deviceArea, 4)
    this.#words = new Uint32Array(ring.buffer, ring.offset, 4 * size)
    this.#halves = new Uint16Array(ring.buffer, ring.offset, 8 * size)
    this.#driverEvent = new Uint16Array(driver.buffer, driver.offset, 2)
    this.#deviceEvent = new Uint16Array(device.buffer, device.offset, 2)
    this.#chain = new DescriptorChain(access, this.#chainCountMax)
    this.#entries = new Uint16Array(size)
    this.#order = features.inOrder ? new UsedOrder(size) : undefined
  }

  get available(): boolean {
    return !this.stopped && this.#available()
  }

  pop(): DescriptorChain | undefined {
    if (this.stopped || !this.#available()) return undefined
    const chain = this.#chain
    chain.clear(0)
    let slot = this.#nextAvail
    for (let count = 1; ; count++) {
      if (this.#entriesInFlight + count > this.size) {
        return this.#break('2.8.5: more descriptors made available than the queue has, or a loop')
      }
      const at = 4 * slot
      const low = this.#words[at]!
      const high = this.#words[at + 1]!
      const length = this.#words[at + 2]!
      const idAndFlags = this.#words[at + 3]!
      const flags = idAndFlags >>> 16
      if (++slot === this.size) slot = 0
      if (!this.#take(low, high, length, flags)) return undefined
      if (flags & VIRTQ_DESC_F_NEXT) continue
      const id = idAndFlags & 0xffff
      if (id >= this.size) return this.#break(`2.8.5: buffer ID ${id} in a queue of ${this.size}`)
      if (this.#entries[id] !== 0) return this.#break(`2.8.5: buffer ID ${id} is in flight already`)
      chain.id = id
      this.#entries[id] = count
      this.#entriesInFlight += count
      this.#order?.taken(id, chain.writableLength)
      this.inFlight++
      if (slot <= this.#nextAvail) this.#availWrap ^= 1
      this.#nextAvail = slot
      return chain
    }
  }

  unpop(): void {
    const { id } = this.#chain
    const count = this.#entries[id]!
    this.#entries[id] = 0
    this.#entriesInFlight -= count
    this.#order?.untaken()
    this.inFlight--
    if (this.#nextAvail < count) {
      this.#nextAvail += this.size
      this.#availWrap ^= 1
    }
    this.#nextAvail -= count
  }

  push(id: number, written: number): void {
    if (this.stopped || !this.#entries[id]) return
    const order = this.#order
    if (order !== undefined) {
      if (order.done(id, written)) this.inFlight--
      return
    }
    this.inFlight--
    this.#use(id, written, this.#free(id))
  }

  publish(): void {
    this.show()
    this.notify()
  }

  show(): void {
    if (this.stopped) return
    this.#order?.release(this.#sink)
    if (this.#unshown === 0) return
    this.#unnotified += this.#unshown
    this.#unshown = 0
    Atomics.store(this.#halves, 8 * this.#firstSlot + 7, this.#firstFlags)
  }

  wantsInterrupt(): boolean {
    if (this.stopped || this.#unnotified === 0) return false
    const flags = Atomics.load(this.#driverEvent, 1) & 3
    if (flags !== RING_EVENT_FLAGS_DESC || !this.#eventIdx)
      return flags !== RING_EVENT_FLAGS_DISABLE
    let shown = this.#nextUsed - this.#unshown
    let wrap = this.#usedWrap
    if (shown < 0) {
      shown += this.size
      wrap ^= 1
    }
    const event = Atomics.load(this.#driverEvent, 0)
    let at = event & 0x7fff
    if (event >>> 15 !== wrap) at -= this.size
    return ((shown - at - 1) & 0xffff) < this.#unnotified
  }

  notify(): boolean {
    const wanted = this.wantsInterrupt()
    this.#unnotified = 0
    if (wanted) this.#events.interrupt(this.index)
    return wanted
  }

  disableNotifications(): void {
    if (!this.stopped) Atomics.store(this.#deviceEvent, 1, RING_EVENT_FLAGS_DISABLE)
  }

  enableNotifications(): boolean {
    if (this.stopped) return false
    if (this.#eventIdx) {
      Atomics.store(this.#deviceEvent, 0, this.#nextAvail | (this.#availWrap << 15))
      Atomics.store(this.#deviceEvent, 1, RING_EVENT_FLAGS_DESC)
    } else {
      Atomics.store(this.#deviceEvent, 1, RING_EVENT_FLAGS_ENABLE)
    }
    return this.#available()
  }

  stop(): void {
    this.stopped = true
  }

  /** @returns the ring entries of the chain */
  #free(id: number): number {
    const count = this.#entries[id]!
    this.#entries[id] = 0
    this.#entriesInFlight -= count
    return count
  }

  #use(id: number, written: number, entries: number): void {
    const slot = this.#nextUsed
    const flags = (this.#usedWrap ? AVAIL | USED : 0) | (written > 0 ? VIRTQ_DESC_F_WRITE : 0)
    this.#words[4 * slot + 2] = written
    this.#halves[8 * slot + 6] = id
    if (this.#unshown === 0) {
      this.#firstSlot = slot
      this.#firstFlags = flags
    } else {
      Atomics.store(this.#halves, 8 * slot + 7, flags)
    }
    this.#unshown += entries
    this.#nextUsed += entries
    if (this.#nextUsed >= this.size) {
      this.#nextUsed -= this.size
      this.#usedWrap ^= 1
    }
  }

  /** 2.8.1: the two bits differ, and AVAIL is as our wrap counter. */
  #available(): boolean {
    const flags = Atomics.load(this.#halves, 8 * this.#nextAvail + 7)
    const avail = (flags & AVAIL) !== 0
    return avail === (this.#availWrap === 1) && avail !== ((flags & USED) !== 0)
  }

  #take(low: number, high: number, length: number, flags: number): boolean {
    if ((flags & VIRTQ_DESC_F_INDIRECT) === 0) return this.#append(low, high, length, flags)
    if (!this.#indirect)
      return this.#refuse('2.8.7: an indirect descriptor without VIRTIO_F_INDIRECT_DESC')
    if (flags & VIRTQ_DESC_F_NEXT)
      return this.#refuse('2.8.7: a descriptor with both INDIRECT and NEXT')
    if (length === 0 || length % 16 !== 0)
      return this.#refuse(`2.8.7: an indirect table of ${length} bytes`)
    const address = guestAddress(low, high)
    const region = this.#access.find(address, length)
    if (region === undefined) return this.#refuse('2.8.7: an indirect table outside guest memory')
    if (length / 16 > this.#chainCountMax)
      return this.#refuse('2.8.7: an indirect table longer than the queue allows')
    const base = address - region.guestAddress
    for (let at = base; at < base + length; at += 16) {
      const inner = readU32(region, at + 12) >>> 16
      if (inner & VIRTQ_DESC_F_INDIRECT)
        return this.#refuse('2.8.7: an indirect descriptor inside an indirect table')
      if (
        !this.#append(readU32(region, at), readU32(region, at + 4), readU32(region, at + 8), inner)
      )
        return false
    }
    return true
  }

  /** As the split queue's, which it does not share: by a function of both a chain of four takes 38 ns instead of 29. */
  #append(low: number, high: number, length: number, flags: number): boolean {
    if (length === 0) return true
    const chain = this.#chain
    const writable = (flags & VIRTQ_DESC_F_WRITE) !== 0
    if (!writable && chain.writableLength > 0) {
      return this.#refuse('2.8.17: a device-readable descriptor after a device-writable one')
    }
    if (chain.count === this.#chainCountMax) {
      return this.#refuse(`2.8.5: a chain of more than ${this.#chainCountMax} descriptors`)
    }
    chain.append(guestAddress(low, high), length, writable)
    if (chain.readableLength + chain.writableLength > CHAIN_LENGTH_MAX) {
      return this.#refuse('2.8.5: a chain of more than 2^32 bytes')
    }
    return true
  }

  #refuse(rule: string): false {
    this.#break(rule)
    return false
  }

  #break(rule: string): undefined {
    this.stopped = true
    this.#events.broken(this.index, rule)
    return undefined
  }
}
