import { Duplex } from 'node:stream'
import { violation } from './frames.js'

/** Bytes that may be on their way, one way, before the receiver has taken any. */
export const STREAM_WINDOW = 2 ** 18
/** Bytes of one frame. */
const PIECE = 2 ** 16

/** How a stream reaches its channel. */
export interface StreamLink {
  data(bytes: Uint8Array): void
  credit(bytes: number): void
  end(): void
  /** Tells the peer that it is over, and forgets the stream. */
  close(error: Error | undefined): void
  /** Whether the channel takes more now; if not, `resume` is called when it does. */
  ready(resume: () => void): boolean
}

type Done = (error?: Error | null) => void

/** A stream over a channel. What is in it at any time is bounded on both sides, by credit. */
export class ChannelStream extends Duplex {
  /** Whether the peer may make it fail by an error of its own, which ends a program that listens for none. */
  passErrors = false
  readonly #link: StreamLink
  /** Bytes that the peer has let us send. */
  #credit = STREAM_WINDOW
  /** Bytes that the peer may send, and those of them that it may send again, which it was not told of. */
  #window = STREAM_WINDOW
  #owed = 0
  #chunk: Buffer | undefined
  #done: Done | undefined
  #over = false

  constructor(link: StreamLink) {
    super({ allowHalfOpen: true, readableHighWaterMark: PIECE, writableHighWaterMark: PIECE })
    this.#link = link
  }

  /** Bytes from the peer. @throws VmmError `ERR_ISOLATION` if they are more than it was told to send */
  receive(bytes: Buffer): void {
    if (bytes.length > this.#window) throw violation('more data than a stream has room for')
    this.#window -= bytes.length
    this.#owed += bytes.length
    if (this.#over || this.readableEnded || this.destroyed || bytes.length === 0) return
    // A view of what was read may keep far more in memory than itself.
    if (this.push(bytes.length < PIECE / 2 ? Buffer.from(bytes) : bytes)) this.#grant()
  }

  /** @throws VmmError `ERR_ISOLATION` for more than was sent */
  receiveCredit(bytes: number): void {
    if (bytes > STREAM_WINDOW - this.#credit) throw violation('credit for what was never sent')
    this.#credit += bytes
    this.#flush()
  }

  receiveEnd(): void {
    if (!this.destroyed && !this.#over) this.push(null)
  }

  /** The peer has ended it both ways. What it sent before can still be read. */
  receiveClose(error: Error | undefined): void {
    if (this.#over) return
    this.#over = true
    const passed = this.passErrors ? error : undefined
    if (passed || this.destroyed || this.readableEnded) {
      this.destroy(passed)
      return
    }
    this.push(null)
    if (this.readableLength > 0) this.once('end', () => this.destroy())
    else setImmediate(() => this.destroy())
  }

  override _read(): void {
    this.#grant()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    if (this.#over) {
      done(closed())
      return
    }
    this.#chunk = chunk
    this.#done = done
    this.#flush()
  }

  override _final(done: Done): void {
    if (!this.#over) this.#link.end()
    done()
  }

  override _destroy(error: Error | null, callback: Done): void {
    if (!this.#over) this.#link.close(error ?? undefined)
    this.#over = true
    const done = this.#done
    this.#done = undefined
    this.#chunk = undefined
    done?.(error ?? closed())
    callback(error)
  }

  #grant(): void {
    // In pieces, so that a reader of single bytes costs no frame for each.
    if (this.#over || this.#owed < STREAM_WINDOW / 4) return
    this.#link.credit(this.#owed)
    this.#window += this.#owed
    this.#owed = 0
  }

  readonly #flush = (): void => {
    while (this.#chunk !== undefined) {
      if (this.#chunk.length === 0) {
        const done = this.#done
        this.#chunk = undefined
        this.#done = undefined
        done?.()
        continue
      }
      const length = Math.min(this.#chunk.length, this.#credit, PIECE)
      if (length === 0 || !this.#link.ready(this.#flush)) return
      this.#credit -= length
      this.#link.data(this.#chunk.subarray(0, length))
      this.#chunk = this.#chunk.subarray(length)
    }
  }
}

function closed(): Error {
  return Object.assign(new Error('the other end has closed the stream'), { code: 'ECONNRESET' })
}
