import type { NativeAddressSpace, NativeTap } from '../../binding.js'
import type { NetAgreement, NetAttachment, NetChannel, NetOffloads } from './net-backend.js'
import {
  TUN_F_CSUM,
  TUN_F_TSO_ECN,
  TUN_F_TSO4,
  TUN_F_TSO6,
  VIRTIO_NET_HDR_GSO_TCPV4,
  VIRTIO_NET_HDR_GSO_TCPV6,
  VIRTIO_NET_HDR_GSO_UDP,
} from './tun-abi.js'

const BATCH_WORDS = 8192
/** Frames taken in one turn of the event loop. */
const RECEIVE_BUDGET = 64

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
  #closed = false

  constructor(native: NativeTap, memory: NativeAddressSpace, attachment: NetAttachment) {
    this.#native = native
    this.#attachment = attachment
    this.#batch = new Float64Array(BATCH_WORDS + 2 + 2 * attachment.segments)
    // A batch holds no more items than this, and a received frame no more buffers than there are tags.
    this.#results = new Int32Array(
      2 * Math.max(BATCH_WORDS / 2 + 1, 2 * attachment.tags + RECEIVE_BUDGET),
    )
    native.attach(memory, this.#batch, this.#results, () => this.#receive())
  }

  get overruns(): number {
    return this.#native.counters[0]
  }

  agree({ transmit, receive, mergeable }: NetAgreement): void {
    this.#native.features(transmit.checksum, gsoTypes(transmit), receive.checksum, mergeable)
    this.#native.setOffload(tunOffload(receive))
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
    const results = this.#results
    const count = this.#native.transmit(words)
    for (let i = 0; i < count; i++)
      this.#attachment.transmitted(results[2 * i]!, results[2 * i + 1]!)
  }

  post(): void {
    const words = this.#words
    if (words === 0) return
    this.#words = 0
    this.#give(this.#native.post(words))
    this.#native.watch(!this.#held)
  }

  hold(on: boolean): void {
    if (on === this.#held || this.#closed) return
    this.#held = on
    this.#native.watch(!on)
  }

  reset(): void {
    if (this.#closed) return
    this.#words = 0
    this.posted = 0
    this.#native.reset()
  }

  async close(): Promise<void> {
    if (this.#closed) return
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
    try {
      this.#attachment.readable()
      this.#give(this.#native.receive(RECEIVE_BUDGET))
      this.#attachment.completed()
    } catch (error) {
      this.#attachment.failed(error instanceof Error ? error : new Error(String(error)))
    }
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
