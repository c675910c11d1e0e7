import {
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_USED_F_NO_NOTIFY,
} from '../abi.js'
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

/**
 * A split virtqueue (virtio 1.2, section 2.7).
 *
 * The driver's vCPUs change ring and descriptors while we look, so: indices and event fields are read and written
 * whole by `Atomics` on aligned halves of words, which also orders them against everything else; a descriptor's four
 * words are read once each; our own positions are never read back from the rings.
 */
export class SplitVirtqueue implements Virtqueue {
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
  readonly #mask: number

  readonly #descriptors: Uint32Array
  /** flags, idx, ring[size], used_event */
  readonly #avail: Uint16Array
  /** flags, idx */
  readonly #used: Uint16Array
  /** id, len by turns */
  readonly #usedRing: Uint32Array
  readonly #availEvent: Uint16Array

  readonly #chain: DescriptorChain
  readonly #busy: Uint8Array
  readonly #order: UsedOrder | undefined
  readonly #sink: BatchSink = {
    free: (id) => this.#free(id),
    use: (id, written, chains) => this.#use(id, written, chains),
  }
  /** The next entry of the available ring to take, modulo 2^16. */
  #nextAvail = 0
  /** What we know the driver to have made available. */
  #availIdx = 0
  #nextUsed = 0
  #shownUsed = 0
  /** What the driver has been asked about, whether it wants an interrupt for it. */
  #notifiedUsed = 0

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
    this.#mask = size - 1

    const descriptors = areaOf(access, geometry.descriptorArea, 16 * size)
    const avail = areaOf(access, geometry.driverArea, 6 + 2 * size)
    const used = areaOf(access, geometry.deviceArea, 6 + 8 * size)
    this.#descriptors = new Uint32Array(descriptors.buffer, descriptors.offset, 4 * size)
    this.#avail = new Uint16Array(avail.buffer, avail.offset, 3 + size)
    this.#used = new Uint16Array(used.buffer, used.offset, 2)
    this.#usedRing = new Uint32Array(used.buffer, used.offset + 4, 2 * size)
    this.#availEvent = new Uint16Array(used.buffer, used.offset + 4 + 8 * size, 1)
    this.#chain = new DescriptorChain(access, this.#chainCountMax)
    this.#busy = new Uint8Array(size)
    this.#order = features.inOrder ? new UsedOrder(size) : undefined
  }

  get available(): boolean {
    return !this.stopped && (this.#nextAvail !== this.#availIdx || this.#lookForMore())
  }

  pop(): DescriptorChain | undefined {
    if (this.stopped) return undefined
    if (this.#nextAvail === this.#availIdx && !this.#lookForMore()) return undefined
    const head = this.#avail[2 + (this.#nextAvail & this.#mask)]!
    if (head >= this.size)
      return this.#break(`2.7.6: the available ring names descriptor ${head} of ${this.size}`)
    if (this.#busy[head])
      return this.#break(`2.7.6: chain ${head} was made available again before it was used`)
    if (!this.#collect(head)) return undefined
    this.#busy[head] = 1
    this.#order?.taken(head, this.#chain.writableLength)
    this.inFlight++
    this.#nextAvail = (this.#nextAvail + 1) & 0xffff
    return this.#chain
  }

  unpop(): void {
    this.#busy[this.#chain.id] = 0
    this.#order?.untaken()
    this.inFlight--
    this.#nextAvail = (this.#nextAvail - 1) & 0xffff
  }

  push(id: number, written: number): void {
    if (this.stopped || !this.#busy[id]) return
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
    if (this.#nextUsed === this.#shownUsed) return
    this.#shownUsed = this.#nextUsed
    // A sequentially consistent store: the entries are seen before it, and it before what follows is read (2.7.13.4.1).
    Atomics.store(this.#used, 1, this.#shownUsed)
  }

  wantsInterrupt(): boolean {
    const before = this.#notifiedUsed
    const now = this.#shownUsed
    if (this.stopped || now === before) return false
    if (!this.#eventIdx) return (Atomics.load(this.#avail, 0) & VIRTQ_AVAIL_F_NO_INTERRUPT) === 0
    const usedEvent = Atomics.load(this.#avail, 2 + this.size)
    return ((now - usedEvent - 1) & 0xffff) < ((now - before) & 0xffff) // 2.7.7.2
  }

  notify(): boolean {
    const wanted = this.wantsInterrupt()
    this.#notifiedUsed = this.#shownUsed
    if (wanted) this.#events.interrupt(this.index)
    return wanted
  }

  disableNotifications(): void {
    if (this.stopped) return
    // With event indices one that the driver has gone past does it (2.7.10).
    if (this.#eventIdx) Atomics.store(this.#availEvent, 0, (this.#nextAvail - 1) & 0xffff)
    else Atomics.store(this.#used, 0, VIRTQ_USED_F_NO_NOTIFY)
  }

  enableNotifications(): boolean {
    if (this.stopped) return false
    if (this.#eventIdx) Atomics.store(this.#availEvent, 0, this.#nextAvail)
    else Atomics.store(this.#used, 0, 0)
    return this.#nextAvail !== this.#availIdx || this.#lookForMore()
  }

  stop(): void {
    this.stopped = true
  }

  /** @returns the chains that this counts for */
  #free(id: number): number {
    this.#busy[id] = 0
    return 1
  }

  #use(id: number, written: number, chains: number): void {
    const at = 2 * (this.#nextUsed & this.#mask)
    this.#usedRing[at] = id
    this.#usedRing[at + 1] = written
    this.#nextUsed = (this.#nextUsed + chains) & 0xffff
  }

  #lookForMore(): boolean {
    const idx = Atomics.load(this.#avail, 1)
    const more = (idx - this.#nextAvail) & 0xffff
    if (more > this.size) {
      this.#break(
        `2.7.13.3: the available index runs ${more} entries ahead in a queue of ${this.size}`,
      )
      return false
    }
    this.#availIdx = idx
    return more > 0
  }

  /** Walks a chain into `#chain`. `false` if it breaks a rule, and so the queue. */
  #collect(head: number): boolean {
    this.#chain.clear(head)
    const table = this.#descriptors
    let next = head
    for (let hops = 0; hops < this.size; hops++) {
      const at = 4 * next
      const low = table[at]!
      const high = table[at + 1]!
      const length = table[at + 2]!
      const flagsAndNext = table[at + 3]!
      if (flagsAndNext & VIRTQ_DESC_F_INDIRECT) {
        return this.#collectIndirect(guestAddress(low, high), length, flagsAndNext)
      }
      if (!this.#append(low, high, length, flagsAndNext)) return false
      if ((flagsAndNext & VIRTQ_DESC_F_NEXT) === 0) return true
      next = flagsAndNext >>> 16
      if (next >= this.size)
        return this.#refuse(`2.7.5: a descriptor's next is ${next} of ${this.size}`)
    }
    return this.#refuse('2.7.5.2: a descriptor chain has more entries than the queue, or a loop')
  }

  #collectIndirect(address: number, bytes: number, flags: number): boolean {
    if (!this.#indirect)
      return this.#refuse('2.7.5.3.1: an indirect descriptor without VIRTIO_F_INDIRECT_DESC')
    if (flags & VIRTQ_DESC_F_NEXT)
      return this.#refuse('2.7.5.3.1: a descriptor with both INDIRECT and NEXT')
    if (bytes === 0 || bytes % 16 !== 0)
      return this.#refuse(`2.7.5.3: an indirect table of ${bytes} bytes`)
    const region = this.#access.find(address, bytes)
    if (region === undefined) return this.#refuse('2.7.5.3: an indirect table outside guest memory')
    const base = address - region.guestAddress
    const entries = bytes / 16
    const hopsMax = Math.min(entries, this.#chainCountMax)
    let next = 0
    for (let hops = 0; hops < hopsMax; hops++) {
      const at = base + 16 * next
      const low = readU32(region, at)
      const high = readU32(region, at + 4)
      const length = readU32(region, at + 8)
      const flagsAndNext = readU32(region, at + 12)
      if (flagsAndNext & VIRTQ_DESC_F_INDIRECT) {
        return this.#refuse('2.7.5.3.1: an indirect descriptor inside an indirect table')
      }
      if (!this.#append(low, high, length, flagsAndNext)) return false
      if ((flagsAndNext & VIRTQ_DESC_F_NEXT) === 0) return true
      next = flagsAndNext >>> 16
      if (next >= entries)
        return this.#refuse(`2.7.5.3: an indirect descriptor's next is ${next} of ${entries}`)
    }
    return this.#refuse('2.7.5.3.1: an indirect chain longer than the queue allows, or a loop')
  }

  #append(low: number, high: number, length: number, flags: number): boolean {
    if (length === 0) return true
    const chain = this.#chain
    const writable = (flags & VIRTQ_DESC_F_WRITE) !== 0
    if (!writable && chain.writableLength > 0) {
      return this.#refuse('2.7.4.2: a device-readable descriptor after a device-writable one')
    }
    if (chain.count === this.#chainCountMax) {
      return this.#refuse(`2.7.5.3.1: a chain of more than ${this.#chainCountMax} descriptors`)
    }
    chain.append(guestAddress(low, high), length, writable)
    if (chain.readableLength + chain.writableLength > CHAIN_LENGTH_MAX) {
      return this.#refuse('2.7.5: a chain of more than 2^32 bytes')
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
