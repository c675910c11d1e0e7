import { VmmError } from '../errors.js'

// What goes over the channel: frames of a header of eight bytes, little-endian: the payload's length in four, the kind
// in one, and in three what it belongs to: a request or a stream, numbered by whoever began it.

export const FRAME_HEADER = 8
/** Bytes of a frame's payload. A peer that announces more has broken the protocol. */
export const PAYLOAD_MAX = 2 ** 20 + 2 ** 16
export const ID_MAX = 2 ** 24 - 1

export const frameKinds = {
  /** One way: {@link Content}. */
  message: 1,
  /** Answered by a reply or a failure of the same number. */
  request: 2,
  reply: 3,
  failure: 4,
  /** Begins a stream. */
  open: 5,
  /** Bytes of a stream that the peer has begun, or that we have. */
  data: 6,
  dataBack: 7,
  /** So many more bytes may be sent. */
  credit: 8,
  creditBack: 9,
  /** No more bytes will be sent. */
  end: 10,
  endBack: 11,
  /** The stream is over both ways; the content says why, if it is an error. */
  close: 12,
  closeBack: 13,
} as const
export type FrameKind = (typeof frameKinds)[keyof typeof frameKinds]

export interface Frame {
  readonly kind: FrameKind
  readonly id: number
  readonly payload: Buffer
}

/** What a message, a request, an answer or the beginning of a stream says: JSON, and bytes behind it. */
export interface Content {
  readonly value: unknown
  readonly bytes: Uint8Array
}

const KINDS: ReadonlySet<number> = new Set(Object.values(frameKinds))
const NOTHING = new Uint8Array(0)

export function encodeFrame(kind: FrameKind, id: number, ...payload: Uint8Array[]): Buffer {
  const length = payload.reduce((sum, part) => sum + part.length, 0)
  if (length > PAYLOAD_MAX || id > ID_MAX) {
    throw new VmmError('ERR_OUT_OF_RANGE', `a frame of ${length} bytes does not fit the channel`)
  }
  const frame = Buffer.allocUnsafe(FRAME_HEADER + length)
  frame.writeUInt32LE(length, 0)
  frame.writeUInt32LE(((kind << 24) | id) >>> 0, 4)
  let at = FRAME_HEADER
  for (const part of payload) {
    frame.set(part, at)
    at += part.length
  }
  return frame
}

export function encodeContent(
  kind: FrameKind,
  id: number,
  value: unknown,
  bytes: Uint8Array = NOTHING,
): Buffer {
  const json = Buffer.from(JSON.stringify(value ?? null))
  const length = Buffer.allocUnsafe(4)
  length.writeUInt32LE(json.length)
  return encodeFrame(kind, id, length, json, bytes)
}

/** @throws VmmError `ERR_ISOLATION` for what is none */
export function decodeContent(payload: Buffer): Content {
  const length = payload.length < 4 ? Number.POSITIVE_INFINITY : payload.readUInt32LE(0)
  if (length > payload.length - 4) throw violation('a content that is cut off')
  try {
    const value: unknown = JSON.parse(payload.toString('utf8', 4, 4 + length))
    return { value, bytes: payload.subarray(4 + length) }
  } catch {
    throw violation('a content that is no JSON')
  }
}

/** The peer did what it must not. */
export function violation(what: string): VmmError {
  return new VmmError('ERR_ISOLATION', `the other process broke the protocol: ${what}`)
}

/** Puts frames together from the pieces in which they come. Keeps at most one frame. */
export class FrameDecoder {
  readonly #header = Buffer.alloc(FRAME_HEADER)
  #headerLength = 0
  #payloadLength = 0
  #payload: Buffer | undefined;

  /**
   * Frames whose bytes lie in `chunk` are views of it.
   * @throws VmmError `ERR_ISOLATION` for what is no frame; nothing more may be pushed then
   */
  *push(chunk: Buffer): Generator<Frame> {
    let at = 0
    while (at < chunk.length) {
      if (this.#headerLength < FRAME_HEADER) {
        const part = chunk.subarray(at, at + FRAME_HEADER - this.#headerLength)
        this.#header.set(part, this.#headerLength)
        this.#headerLength += part.length
        at += part.length
        if (this.#headerLength < FRAME_HEADER) return
      }
      const length = this.#header.readUInt32LE(0)
      const kind = this.#header[7]!
      if (length > PAYLOAD_MAX) throw violation(`a frame of ${length} bytes`)
      if (!KINDS.has(kind)) throw violation(`a frame of the kind ${kind}`)
      const payload = this.#take(chunk, at, length)
      if (payload === undefined) return
      at += payload.taken
      const id = this.#header.readUIntLE(4, 3)
      this.#headerLength = 0
      yield { kind: kind as FrameKind, id, payload: payload.bytes }
    }
  }

  #take(chunk: Buffer, at: number, length: number): { bytes: Buffer; taken: number } | undefined {
    const left = chunk.length - at
    if (this.#payload === undefined && left >= length) {
      return { bytes: chunk.subarray(at, at + length), taken: length }
    }
    this.#payload ??= Buffer.allocUnsafe(length)
    const taken = Math.min(left, length - this.#payloadLength)
    chunk.copy(this.#payload, this.#payloadLength, at, at + taken)
    this.#payloadLength += taken
    if (this.#payloadLength < length) return undefined
    const bytes = this.#payload
    this.#payload = undefined
    this.#payloadLength = 0
    return { bytes, taken }
  }
}
