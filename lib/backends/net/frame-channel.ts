import { constants } from 'node:os'
import { asError } from '../../errors.js'
import type { GuestMemory } from '../../memory/guest-memory.js'
import type { NetAgreement, NetAttachment, NetChannel, ReceiveFilter } from './net-backend.js'
import type { CapturePoint } from './pcap-capture.js'
import { wanted } from './receive-filter.js'

/** Virtio 1.2, 5.1.6: bytes of the header before every frame; where it tells the number of buffers. */
const HEADER = 12
const NUM_BUFFERS = 10
/** An Ethernet header and the longest IP packet. */
const FRAME_MAX = 14 + 65535
/** Frames kept for a guest that has no buffers ready; when a source that was told to wait may go on. */
const BACKLOG = 256
const BACKLOG_LOW = 64

/** A backend around its channel. */
export interface FrameChannelEvents {
  /** Takes a frame that the guest has sent; the bytes are its own. */
  send(frame: Uint8Array): void
  /** There is room again after `deliver` returned `false`. */
  drained?(): void
  readonly capture: CapturePoint
}

interface PostedBuffer {
  readonly tag: number
  readonly segments: Uint8Array[]
  length: number
  bad: boolean
}

/**
 * Frames as bytes in TypeScript, for backends that are no device of the host's. Knows no offloads: headers to the guest
 * are zeroes, and those from the guest are cut off.
 */
export class FrameChannel implements NetChannel {
  /** Frames lost because the guest had no buffers for too long, or none large enough. */
  overruns = 0
  starved = false
  /** Frames that the guest did not want. */
  filtered = 0
  readonly #attachment: NetAttachment
  readonly #memory: GuestMemory
  readonly #events: FrameChannelEvents
  readonly #backlog: Uint8Array[] = []
  #frames: PostedBuffer[] = []
  #fresh: PostedBuffer[] = []
  #buffers: PostedBuffer[] = []
  #item: PostedBuffer | undefined
  #mergeable = false
  #mtu: number | undefined
  #filter: ReceiveFilter | undefined
  #link = true
  #held = false
  #full = false
  #closed = false

  constructor(attachment: NetAttachment, events: FrameChannelEvents) {
    this.#attachment = attachment
    this.#memory = attachment.memory
    this.#events = events
  }

  /** The backend has lost what it is connected to, or has it again. */
  linkChanged(up: boolean): void {
    this.#attachment.linkChanged(up)
  }

  get posted(): number {
    return this.#buffers.length
  }

  agree({ mergeable, mtu }: NetAgreement): void {
    this.#mergeable = mergeable
    this.#mtu = mtu
  }

  filter(filter: ReceiveFilter | undefined): void {
    this.#filter = filter
  }

  link(up: boolean): void {
    this.#link = up
    if (!up) this.#clear()
  }

  frame(tag: number): void {
    this.#item = { tag, segments: [], length: 0, bad: false }
    this.#frames.push(this.#item)
  }

  buffer(tag: number): void {
    this.#item = { tag, segments: [], length: 0, bad: false }
    this.#fresh.push(this.#item)
  }

  segment(address: number, length: number): void {
    const item = this.#item!
    if (this.#memory.findRegion(address, length) === undefined) {
      item.bad = true
      return
    }
    item.segments.push(this.#memory.view(address, length))
    item.length += length
  }

  transmit(): void {
    const frames = this.#frames
    this.#frames = []
    for (const { tag, segments, length, bad } of frames) {
      const good = !bad && length > HEADER && length <= HEADER + FRAME_MAX
      if (good) {
        const frame = Buffer.concat(segments).subarray(HEADER)
        this.#events.capture.active?.frame(frame)
        this.#events.send(frame)
      }
      this.#attachment.transmitted(tag, good ? 0 : constants.errno.EMSGSIZE)
    }
  }

  post(): void {
    const fresh = this.#fresh
    this.#fresh = []
    this.starved &&= fresh.length === 0
    for (const buffer of fresh) {
      if (buffer.bad || buffer.length < HEADER + 14) this.#attachment.received(buffer.tag, 0)
      else this.#buffers.push(buffer)
    }
    if (this.#backlog.length > 0 && this.#buffers.length > 0) setImmediate(() => this.#flush())
  }

  giveUp(): void {
    if (!this.starved) return
    this.starved = false
    this.#backlog.shift()
    this.overruns++
    if (this.#backlog.length > 0) setImmediate(() => this.#flush())
  }

  hold(on: boolean): void {
    this.#held = on
    if (!on && this.#backlog.length > 0) setImmediate(() => this.#flush())
  }

  /**
   * Gives the guest a frame, or keeps it until there is a buffer, or loses it.
   * @returns `false` if the next one would be lost, until `drained`
   */
  deliver(frame: Uint8Array): boolean {
    if (!wanted(this.#filter, frame)) {
      this.filtered++
      return !this.#full
    }
    const good = frame.length > 0 && frame.length <= this.#frameMax(frame)
    if (this.#closed || !this.#link || !good || this.#backlog.length >= BACKLOG) {
      this.overruns++
      return !this.#full
    }
    this.#backlog.push(frame)
    if (this.#backlog.length === 1) setImmediate(() => this.#flush())
    this.#full ||= this.#backlog.length >= BACKLOG
    return !this.#full
  }

  reset(): void {
    this.starved = false
    this.#frames = []
    this.#fresh = []
    this.#buffers = []
    this.#clear()
  }

  async close(): Promise<void> {
    this.#closed = true
    this.reset()
  }

  #clear(): void {
    this.#backlog.length = 0
    if (!this.#closed) this.#tellDrained()
  }

  #tellDrained(): void {
    if (!this.#full || this.#backlog.length > BACKLOG_LOW) return
    this.#full = false
    this.#events.drained?.()
  }

  #frameMax(frame: Uint8Array): number {
    if (this.#mtu === undefined) return FRAME_MAX
    const tagged = frame[12] === 0x81 && frame[13] === 0x00
    return this.#mtu + (tagged ? 18 : 14)
  }

  #flush(): void {
    if (this.#closed || this.#held || this.#backlog.length === 0) return
    try {
      this.#attachment.readable()
      while (this.#backlog.length > 0 && this.#buffers.length > 0) {
        const filled = this.#fill(this.#backlog[0]!)
        this.starved = !filled && this.#mergeable
        if (this.starved) break
        if (!filled) this.overruns++
        this.#backlog.shift()
      }
      this.#attachment.completed()
      this.#tellDrained()
    } catch (error) {
      this.#attachment.failed(asError(error))
    }
  }

  /** @returns `false` if there is too little room */
  #fill(frame: Uint8Array): boolean {
    const total = HEADER + frame.length
    let room = 0
    let count = 0
    while (count < (this.#mergeable ? this.#buffers.length : 1) && room < total)
      room += this.#buffers[count++]!.length
    if (room < total) return false
    this.#events.capture.active?.frame(frame)
    const bytes = new Uint8Array(total)
    bytes[NUM_BUFFERS] = count & 0xff
    bytes[NUM_BUFFERS + 1] = count >> 8
    bytes.set(frame, HEADER)
    let at = 0
    for (const buffer of this.#buffers.splice(0, count)) {
      const start = at
      for (const segment of buffer.segments) {
        const part = bytes.subarray(at, at + segment.length)
        segment.set(part)
        at += part.length
      }
      this.#attachment.received(buffer.tag, at - start)
    }
    return true
  }
}
