import { constants } from 'node:os'
import type { NativeAddressSpace, NativeTap } from '../../binding.js'
import { asError, KvmError } from '../../errors.js'
import { Backoff } from '../../util/backoff.js'
import type {
  NetAgreement,
  NetAttachment,
  NetChannel,
  NetOffloads,
  ReceiveFilter,
} from './net-backend.js'
import {
  TUN_F_CSUM,
  TUN_F_TSO_ECN,
  TUN_F_TSO4,
  TUN_F_TSO6,
  VIRTIO_NET_HDR_GSO_TCPV4,
  VIRTIO_NET_HDR_GSO_TCPV6,
  VIRTIO_NET_HDR_GSO_UDP,
} from './tun-abi.js'
import type { VhostNet } from './vhost-net.js'

/** Errno of a queue whose interface has been deleted; Node's table of errnos lacks it. */
const EBADFD = 77
/** Errno of sending to an interface that is down. */
const { EIO } = constants.errno
// See `native/tap_filter.h`.
const FILTER_ACTIVE = 1
const FILTER_BROADCAST = 2
const FILTER_ALL_UNICAST = 4
const FILTER_ALL_MULTICAST = 8
// See `native/tap.h`.
const GONE = 1
const STARVED = 2
const BATCH_WORDS = 8192
/** Frames, and bytes of them, taken in one turn of the event loop: long ones are copied in it. */
const RECEIVE_BUDGET = 64
const RECEIVE_BYTES = 2 ** 20
/** What the first of them leaves of that: none is longer than 128 KiB. */
const REST_BUDGET = RECEIVE_BUDGET - 1
const REST_BYTES = RECEIVE_BYTES - 2 ** 17

/** The interface that a channel belongs to. */
export interface TapInterface {
  /** Whether it is there and set up. */
  up(): boolean
  /** It has been deleted or set down: told once by each channel, until `regained`. */
  lost(): void
}

/** Frames between one TAP queue and guest memory: they never pass through JavaScript. */
export class TapChannel implements NetChannel {
  posted = 0
  readonly #native: NativeTap
  readonly #attachment: NetAttachment
  /** [tag, segment count, (address, length)*]*, see `native/tap.h` */
  readonly #batch: Float64Array
  readonly #results: Int32Array
  #words = 0
  #item = 0
  #held = false
  #linkDown = false
  #lost = false
  #closed = false
  /** Frames have gone since the last look for answers. */
  #sent = false
  readonly #answers = new Backoff()
  #sink: ((records: Uint8Array) => void) | undefined

  readonly #interface: TapInterface
  readonly rings: VhostNet | undefined

  /** @param rings in place of what this does with frames */
  constructor(
    native: NativeTap,
    memory: NativeAddressSpace,
    attachment: NetAttachment,
    tapInterface: TapInterface,
    rings?: VhostNet,
  ) {
    this.rings = rings
    this.#native = native
    this.#interface = tapInterface
    this.#attachment = attachment
    this.#batch = new Float64Array(BATCH_WORDS + 2 + 2 * attachment.segments)
    // A batch holds no more items than this, and a received frame no more buffers than there are tags.
    this.#results = new Int32Array(
      2 * Math.max(BATCH_WORDS / 2 + 1, 2 * attachment.tags + RECEIVE_BUDGET) + 1,
    )
    native.attach(memory, this.#batch, this.#results, () => this.#receive())
  }

  /** The interface has been deleted. */
  get gone(): boolean {
    return (this.#state & GONE) !== 0
  }

  get overruns(): number {
    return this.#native.counters[0]
  }

  /** Frames that the guest did not want. */
  get filtered(): number {
    return this.#native.counters[3]
  }

  agree({ transmit, receive, mergeable, mtu = 0 }: NetAgreement): void {
    this.#native.features(transmit.checksum, gsoTypes(transmit), receive.checksum, mergeable, mtu)
    this.#native.setOffload(tunOffload(receive))
  }

  filter(filter: ReceiveFilter | undefined): void {
    if (this.#closed) return
    if (filter === undefined) {
      this.#native.filter(0, new Float64Array(), new Uint8Array())
      return
    }
    const { broadcast, unicast, multicast, vlans } = filter
    const flags =
      FILTER_ACTIVE |
      (broadcast ? FILTER_BROADCAST : 0) |
      (unicast === 'all' ? FILTER_ALL_UNICAST : 0) |
      (multicast === 'all' ? FILTER_ALL_MULTICAST : 0)
    const listed = [unicast, multicast].flatMap((set) => (set === 'all' ? [] : [...set]))
    const bits = vlans === 'all' ? new Uint8Array() : vlans
    this.#native.filter(flags, Float64Array.from(listed), bits)
  }

  link(up: boolean): void {
    if (this.#closed) return
    this.#linkDown = !up
    // The carrier is the whole interface's.
    if (this.#attachment.pair === 0) this.#native.setCarrier(up)
    this.#native.watch(this.#watching)
  }

  /** The interface is there again, and up. */
  regained(): void {
    this.#lost = false
    this.#native.watch(this.#watching)
    this.#attachment.linkChanged(true)
  }

  /** For an interface that this neither reads nor writes: whether it is there still, and up. */
  look(): void {
    if (this.#closed || this.#lost) return
    this.#native.look()
    this.#lookAfter(true)
  }

  enable(on: boolean): boolean {
    if (this.#closed) return false
    try {
      this.#native.enable(on)
      this.#native.watch(this.#watching)
      return true
    } catch (error) {
      if (error instanceof KvmError) return false
      throw error
    }
  }

  /** Has records of a pcap file handed to `sink` after each batch, until told otherwise. */
  capture(
    sink: ((records: Uint8Array) => void) | undefined,
    { bufferSize = 0, snapLength = 0 } = {},
  ): void {
    if (this.#closed) return
    this.#native.capture(bufferSize, snapLength)
    this.#sink = sink
  }

  /** Frames lost to the capture because one batch had too many bytes. */
  get captureDropped(): number {
    return this.#native.counters[4]
  }

  frame(tag: number): void {
    if (this.#words >= BATCH_WORDS) this.transmit()
    this.#begin(tag)
  }

  buffer(tag: number): void {
    if (this.#words >= BATCH_WORDS) this.post()
    this.#begin(tag)
    this.posted++
  }

  segment(address: number, length: number): void {
    const at = this.#words
    this.#batch[at] = address
    this.#batch[at + 1] = length
    this.#batch[this.#item + 1]!++
    this.#words = at + 2
  }

  transmit(): void {
    const words = this.#words
    if (words === 0) return
    this.#words = 0
    this.#sent = true
    const results = this.#results
    const count = this.#native.transmit(words)
    let refused = false
    let down = false
    for (let i = 0; i < count; i++) {
      const error = results[2 * i + 1]!
      refused ||= error === EBADFD
      down ||= error === EIO
      this.#attachment.transmitted(results[2 * i]!, error)
    }
    if (this.#sink) this.#handOver(this.#sink)
    if (refused || down) this.#lookAfter(down)
  }

  /** The host's own answers (a ping's, TCP's acknowledgements) are there when the write returns. */
  poll(): void {
    if (!this.#sent || this.#closed || !this.#watching || this.posted === 0) return
    this.#sent = false
    if (this.#answers.due())
      this.#answers.tried(this.#guarded(() => this.#take(RECEIVE_BUDGET, RECEIVE_BYTES)))
  }

  post(): void {
    const words = this.#words
    if (words === 0) return
    this.#words = 0
    this.#give(this.#native.post(words))
    if (this.starved && !this.#held) this.#give(this.#native.receive(1, RECEIVE_BYTES))
    this.#native.watch(this.#watching)
  }

  get starved(): boolean {
    return (this.#state & STARVED) !== 0
  }

  giveUp(): void {
    this.#native.giveUp()
    this.#native.watch(this.#watching)
  }

  hold(on: boolean): void {
    if (on === this.#held || this.#closed) return
    this.#held = on
    this.#native.watch(this.#watching)
    // Nothing is read while a frame waits.
    if (!on && this.starved) setImmediate(() => this.#receive())
  }

  reset(): void {
    if (this.#closed) return
    this.#words = 0
    this.posted = 0
    this.#native.reset()
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.rings?.close()
    this.reset()
    this.#closed = true
    this.#native.detach()
  }

  #begin(tag: number): void {
    const at = this.#words
    this.#batch[at] = tag
    this.#batch[at + 1] = 0
    this.#item = at
    this.#words = at + 2
  }

  #receive(): void {
    if (this.#closed) return
    this.#guarded(() => {
      // The guest goes on with the first frame meanwhile: nothing that is not for it comes before.
      const first = this.posted > 0 && this.#take(1, RECEIVE_BYTES)
      if (this.#closed) return first
      this.#attachment.readable()
      return (!this.#held && this.#take(REST_BUDGET, REST_BYTES)) || first
    })
  }

  /** What is there, up to `budget` frames, and no more once they have `bytes` bytes. @returns whether any was */
  #take(budget: number, bytes: number): boolean {
    const count = this.#native.receive(budget, bytes)
    this.#give(count)
    if (this.#sink) this.#handOver(this.#sink)
    this.#attachment.completed()
    this.#lookAfter()
    return count > 0
  }

  #guarded(receive: () => boolean): boolean {
    try {
      return receive()
    } catch (error) {
      this.#attachment.failed(asError(error))
      return false
    }
  }

  /** In memory that the addon writes: asking it takes longer than all else that is done for a short frame. */
  get #state(): number {
    return this.#results.at(-1)!
  }

  get #watching(): boolean {
    return !this.#held && !this.#linkDown
  }

  #handOver(sink: (records: Uint8Array) => void): void {
    const records = this.#native.takeCaptured()
    if (records) sink(records)
  }

  /** The interface may have been deleted by its administrator, or set down. */
  #lookAfter(down = false): void {
    if (this.#closed || this.#lost) return
    if (!this.gone && !(down && !this.#interface.up())) return
    this.#lost = true
    this.#attachment.linkChanged(false)
    this.#interface.lost()
  }

  #give(count: number): void {
    const results = this.#results
    this.posted -= count
    for (let i = 0; i < count; i++) this.#attachment.received(results[2 * i]!, results[2 * i + 1]!)
  }
}

function gsoTypes({ checksum, tso4, tso6, ufo }: NetOffloads): number {
  if (!checksum) return 0
  return (
    (tso4 ? 1 << VIRTIO_NET_HDR_GSO_TCPV4 : 0) |
    (tso6 ? 1 << VIRTIO_NET_HDR_GSO_TCPV6 : 0) |
    (ufo ? 1 << VIRTIO_NET_HDR_GSO_UDP : 0)
  )
}

function tunOffload({ checksum, tso4, tso6, tsoEcn }: NetOffloads): number {
  if (!checksum) return 0
  return (
    TUN_F_CSUM | (tso4 ? TUN_F_TSO4 : 0) | (tso6 ? TUN_F_TSO6 : 0) | (tsoEcn ? TUN_F_TSO_ECN : 0)
  )
}
