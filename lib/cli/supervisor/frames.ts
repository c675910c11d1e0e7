import { Transform, type TransformCallback, Writable } from 'node:stream'

// After the answer to `exec` both sides send frames: a byte that says what it is, four bytes of length, the most
// significant first, and so many bytes.
export const STDIN = 1
export const STDIN_END = 2
export const SIGNAL = 3
export const RESIZE = 4
export const STDOUT = 5
export const STDERR = 6
export const EXIT = 7

const HEADER = 5
export const FRAME_MAX = 2 ** 20

export function encodeFrame(type: number, payload: Uint8Array | string = ''): Buffer {
  const bytes = Buffer.from(payload)
  const header = Buffer.alloc(HEADER)
  header[0] = type
  header.writeUInt32BE(bytes.length, 1)
  return Buffer.concat([header, bytes])
}

/** Puts what it is given into frames of one type; `last` follows at its end. */
export class FrameEncoder extends Transform {
  readonly #type: number
  readonly #last: number | undefined

  constructor(type: number, last?: number) {
    super()
    this.#type = type
    this.#last = last
  }

  override _transform(bytes: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    for (let at = 0; at < bytes.length; at += FRAME_MAX) {
      this.push(encodeFrame(this.#type, bytes.subarray(at, at + FRAME_MAX)))
    }
    done()
  }

  override _flush(done: TransformCallback): void {
    if (this.#last !== undefined) this.push(encodeFrame(this.#last))
    done()
  }
}

/** Takes bytes and calls `onFrame` with each frame, one after another: it waits for what that returns. */
export class FrameDecoder extends Writable {
  readonly #onFrame: (type: number, payload: Buffer) => void | Promise<void>
  #rest: Buffer = Buffer.alloc(0)

  constructor(onFrame: (type: number, payload: Buffer) => void | Promise<void>) {
    super()
    this.#onFrame = onFrame
  }

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: (error?: Error) => void): void {
    this.#take(bytes).then(() => done(), done)
  }

  async #take(bytes: Buffer): Promise<void> {
    let rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes])
    while (rest.length >= HEADER) {
      const length = rest.readUInt32BE(1)
      if (length > FRAME_MAX) throw new Error('a frame is too long')
      if (rest.length - HEADER < length) break
      await this.#onFrame(rest[0]!, rest.subarray(HEADER, HEADER + length))
      rest = rest.subarray(HEADER + length)
    }
    this.#rest = rest
  }
}

/** Writes, and resolves when more may come. */
export function writeTo(stream: Writable, bytes: Uint8Array): Promise<void> | undefined {
  if (stream.destroyed || stream.write(bytes)) return undefined
  return new Promise((resolve) => stream.once('drain', resolve).once('close', resolve))
}
