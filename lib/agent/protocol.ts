/**
 * The protocol between the host and the agent in the guest; `native/guest-agent/protocol.h` has the same.
 *
 * The agent connects and both sides say `HELLO`. Then each *session*, whose id the host chooses, runs one program or
 * does one thing with a file; all share the connection. No side sends more bytes on a stream than its receiver has granted by
 * `CREDIT`: so neither ever has to stop reading the connection, and what either keeps is bounded by the windows.
 *
 * - A program: `EXEC`, answered by `STARTED` (its pid) or `FAILED`. `DATA` and `EOF` on streams 0, 1 and 2, `SIGNAL`
 *   to its process group, `RESIZE` of its terminal, and `EXIT`. The session is over after `EXIT` and the `EOF` of both
 *   outputs. `CLOSE` kills the process group and has all three sent.
 * - A file to read: `READ`, answered by `STARTED` (mode, size), `DATA` and `EOF` on stream 1, `EXIT`.
 * - A file to write: `WRITE`, answered by `STARTED`; takes `DATA` and `EOF` on stream 0, then says `EXIT`. The file gets
 *   its name only then.
 * - A folder to list: `LIST`, answered like `READ`; what comes is what getdents64(2) gives. A symbolic link is not
 *   followed.
 * - `READ_LINK`, answered like `READ`: what comes is the link's target. `MAKE_DIRECTORY`, for which one that is there
 *   already will do, and `MAKE_LINK` are answered by `STARTED` and `EXIT`.
 *
 * `FAILED` ends any session at once.
 */
export const PROTOCOL_VERSION = 2

/** "nkga", little-endian. */
export const HELLO_MAGIC = 0x61676b6e

/** The host's vsock port that the agent connects to. */
export const AGENT_PORT = 28267

/** The agent connects from a port below this, which takes CAP_NET_BIND_SERVICE in the guest (vsock(7)). */
export const RESERVED_PORTS_END = 1024

export const SESSIONS_MAX = 32

/** Bytes of a frame's payload: of one that starts a session, and of any other. */
export const REQUEST_MAX = 262144
export const PAYLOAD_MAX = 32768

/** Bytes on their way on a stream: to the guest, and from it. */
export const INPUT_WINDOW = 65536
export const OUTPUT_WINDOW = 262144

export const HELLO = 1
export const EXEC = 2
export const READ = 3
export const WRITE = 4
export const DATA = 5
export const EOF = 6
export const CREDIT = 7
export const SIGNAL = 8
export const RESIZE = 9
export const CLOSE = 10
export const PING = 11
export const PONG = 12
export const STARTED = 13
export const FAILED = 14
export const EXIT = 15
export const LIST = 16
export const READ_LINK = 17
export const MAKE_DIRECTORY = 18
export const MAKE_LINK = 19

export const STDIN = 0
export const STDOUT = 1
export const STDERR = 2

/** What `FAILED` says failed. */
export const STEPS = [
  'the request',
  'making room for it',
  'changing to its user',
  'changing to its working directory',
  'execve',
  'the file',
] as const

export interface Frame {
  readonly type: number
  readonly session: number
  readonly stream: number
  readonly payload: Buffer
}

const HEADER_SIZE = 8

export function encodeFrame(
  type: number,
  session: number,
  payload: Uint8Array = new Uint8Array(0),
  stream = 0,
): Buffer {
  const bytes = Buffer.allocUnsafe(HEADER_SIZE + payload.length)
  bytes.writeUInt32LE(payload.length, 0)
  bytes.writeUInt16LE(session, 4)
  bytes.writeUInt8(type, 6)
  bytes.writeUInt8(stream, 7)
  bytes.set(payload, HEADER_SIZE)
  return bytes
}

export function encodeWords(...words: readonly number[]): Buffer {
  const bytes = Buffer.allocUnsafe(words.length * 4)
  for (const [index, word] of words.entries()) bytes.writeUInt32LE(word, index * 4)
  return bytes
}

/** Cuts a stream of bytes into frames. Keeps less than one frame. */
export class FrameDecoder {
  #kept: Buffer[] = []
  #length = 0

  /** @throws RangeError for a frame that is longer than any may be */
  push(chunk: Buffer): Frame[] {
    this.#kept.push(chunk)
    this.#length += chunk.length
    const frames: Frame[] = []
    for (let size = this.#nextSize(); size <= this.#length; size = this.#nextSize()) {
      frames.push(decode(this.#take(size)))
    }
    return frames
  }

  /** Of the next frame, as far as can be told. */
  #nextSize(): number {
    if (this.#length < HEADER_SIZE) return HEADER_SIZE
    if (this.#kept[0]!.length < HEADER_SIZE) this.#kept = [Buffer.concat(this.#kept)]
    const length = this.#kept[0]!.readUInt32LE(0)
    if (length > PAYLOAD_MAX) throw new RangeError(`a frame of ${length} bytes`)
    return HEADER_SIZE + length
  }

  #take(size: number): Buffer {
    const all = this.#kept.length === 1 ? this.#kept[0]! : Buffer.concat(this.#kept)
    const rest = all.subarray(size)
    this.#kept = rest.length > 0 ? [rest] : []
    this.#length = rest.length
    return all.subarray(0, size)
  }
}

function decode(bytes: Buffer): Frame {
  return {
    session: bytes.readUInt16LE(4),
    type: bytes.readUInt8(6),
    stream: bytes.readUInt8(7),
    payload: bytes.subarray(HEADER_SIZE),
  }
}
