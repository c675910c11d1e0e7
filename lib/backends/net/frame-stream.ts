import type { Duplex } from 'node:stream'
import { VmmError } from '../../errors.js'

/** An Ethernet header, a VLAN tag, and the longest IP packet. */
const FRAME_MAX = 18 + 65535
/** Before each frame: its length, the most significant byte first. */
const PREFIX = 4
/** Bytes that may wait for the peer; frames beyond them are dropped. */
const SEND_MAX = 2 ** 20

export interface FrameStreamEvents {
  /** A frame has come; the bytes are the receiver's. `false`: none more until `resume`. */
  frame(frame: Uint8Array): boolean
  /** The stream has ended, or is given up: `error` tells why, if not by a plain end. Once. */
  ended(error: Error | undefined): void
}

/** Ethernet frames over a byte stream, each behind its length in four bytes: as passt and QEMU's `-netdev stream` do. */
export class FrameStream {
  /** Frames for a peer that does not take them. */
  dropped = 0
  readonly #stream: Duplex
  readonly #events: FrameStreamEvents
  /** A frame that comes in parts, with its prefix. */
  readonly #parts = Buffer.alloc(PREFIX + FRAME_MAX)
  #partsLength = 0
  #chunk: Buffer = Buffer.alloc(0)
  #at = 0
  #paused = false
  #ended = false

  constructor(stream: Duplex, events: FrameStreamEvents) {
    this.#stream = stream
    this.#events = events
    stream.on('data', this.#onData)
    stream.on('end', this.#onEnd)
    stream.on('close', this.#onEnd)
    stream.on('error', this.#end)
  }

  /** @returns whether the frame was taken; if not it is dropped */
  send(frame: Uint8Array): boolean {
    const stream = this.#stream
    if (this.#ended || !stream.writable || stream.writableLength > SEND_MAX) {
      this.dropped++
      return false
    }
    const bytes = Buffer.allocUnsafe(PREFIX + frame.length)
    bytes.writeUInt32BE(frame.length, 0)
    bytes.set(frame, PREFIX)
    stream.write(bytes)
    return true
  }

  /** Goes on after `frame` returned `false`. */
  resume(): void {
    if (!this.#paused || this.#ended) return
    this.#paused = false
    this.#parse()
    if (!this.#paused && !this.#ended) this.#stream.resume()
  }

  /** Ends the stream, without telling. */
  close(): void {
    this.#ended = true
    this.#chunk = Buffer.alloc(0)
    this.#stream.off('data', this.#onData)
    this.#stream.destroy()
  }

  readonly #onData = (chunk: Buffer | string) => {
    this.#chunk = typeof chunk === 'string' ? Buffer.from(chunk, 'latin1') : chunk
    this.#at = 0
    this.#parse()
  }

  readonly #onEnd = () => {
    const midFrame = this.#partsLength > 0 && !this.#ended
    this.#end(
      midFrame ? new VmmError('ERR_NET', 'the stream ended in the middle of a frame') : undefined,
    )
  }

  readonly #end = (error?: Error) => {
    if (this.#ended) return
    this.close()
    this.#events.ended(error)
  }

  #parse(): void {
    while (this.#at < this.#chunk.length && !this.#paused && !this.#ended) {
      const frame = this.#partsLength > 0 ? this.#complete() : this.#next()
      if (frame && !this.#events.frame(frame)) {
        this.#paused = true
        this.#stream.pause()
      }
    }
  }

  /** The next frame if all of it lies in the chunk; else what there is of it is kept. */
  #next(): Uint8Array | undefined {
    const chunk = this.#chunk
    const left = chunk.length - this.#at
    if (left >= PREFIX) {
      const length = chunk.readUInt32BE(this.#at)
      if (!this.#sane(length)) return undefined
      if (left >= PREFIX + length) {
        const start = this.#at + PREFIX
        this.#at = start + length
        return chunk.subarray(start, this.#at)
      }
    }
    this.#keep(left)
    return undefined
  }

  /** The frame of which parts were kept, once it is whole. */
  #complete(): Uint8Array | undefined {
    const parts = this.#parts
    if (this.#partsLength < PREFIX) {
      this.#keep(PREFIX - this.#partsLength)
      if (this.#partsLength < PREFIX) return undefined
    }
    const length = parts.readUInt32BE(0)
    if (!this.#sane(length)) return undefined
    this.#keep(PREFIX + length - this.#partsLength)
    if (this.#partsLength < PREFIX + length) return undefined
    this.#partsLength = 0
    return Uint8Array.prototype.slice.call(parts, PREFIX, PREFIX + length)
  }

  #keep(most: number): void {
    const count = Math.min(most, this.#chunk.length - this.#at)
    this.#chunk.copy(this.#parts, this.#partsLength, this.#at, this.#at + count)
    this.#partsLength += count
    this.#at += count
  }

  #sane(length: number): boolean {
    if (length > 0 && length <= FRAME_MAX) return true
    this.#end(
      new VmmError('ERR_NET', `expected frames of 1 to ${FRAME_MAX} bytes, got one of ${length}`),
    )
    return false
  }
}
