import { Transform, type TransformCallback } from 'node:stream'

/**
 * Passes a stream on up to its end mark, and ends there. What could be the beginning of the mark is held back until
 * the next bytes tell.
 */
export class EndMark extends Transform {
  #held = Buffer.alloc(0)
  /** Whether the mark has come. */
  seen = false

  constructor(private readonly mark: Buffer) {
    super()
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    if (!this.seen) this.#pass(this.#held.length > 0 ? Buffer.concat([this.#held, chunk]) : chunk)
    done()
  }

  override _flush(done: TransformCallback): void {
    if (!this.seen && this.#held.length > 0) this.push(this.#held)
    done()
  }

  #pass(bytes: Buffer): void {
    const at = bytes.indexOf(this.mark)
    this.seen = at >= 0
    const end = this.seen ? at : bytes.length - this.#beginning(bytes)
    this.#held = this.seen ? Buffer.alloc(0) : Buffer.from(bytes.subarray(end))
    if (end > 0) this.push(bytes.subarray(0, end))
    if (this.seen) this.push(null)
  }

  /** How many of the last bytes are the beginning of the mark. */
  #beginning(bytes: Buffer): number {
    for (let length = Math.min(this.mark.length - 1, bytes.length); length > 0; length--) {
      const tail = bytes.subarray(bytes.length - length)
      if (tail.equals(this.mark.subarray(0, length))) return length
    }
    return 0
  }
}
