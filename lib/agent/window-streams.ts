import { Readable, Writable } from 'node:stream'
import { INPUT_WINDOW, OUTPUT_WINDOW, PAYLOAD_MAX } from './protocol.js'

type Done = (error?: Error | null) => void

/** Bytes for the guest, sent as far as it has granted. */
export class GuestInput extends Writable {
  readonly #send: (bytes: Uint8Array) => void
  readonly #ended: () => void
  #credit = INPUT_WINDOW
  #chunk: Buffer | undefined
  #done: Done | undefined

  constructor(send: (bytes: Uint8Array) => void, ended: () => void) {
    super({ highWaterMark: INPUT_WINDOW })
    this.#send = send
    this.#ended = ended
  }

  /** @throws RangeError if the guest grants more than it can have taken */
  grant(count: number): void {
    if (count > INPUT_WINDOW - this.#credit) throw new RangeError('more credit than was used')
    this.#credit += count
    this.#pump()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    this.#chunk = chunk
    this.#done = done
    this.#pump()
  }

  override _final(done: Done): void {
    this.#ended()
    done()
  }

  override _destroy(error: Error | null, callback: Done): void {
    const done = this.#done
    this.#done = undefined
    this.#chunk = undefined
    done?.(error ?? new Error('the guest takes no more'))
    callback(error)
  }

  #pump(): void {
    while (this.#chunk && this.#credit > 0 && this.#chunk.length > 0) {
      const part = this.#chunk.subarray(0, Math.min(this.#credit, PAYLOAD_MAX))
      this.#credit -= part.length
      this.#chunk = this.#chunk.subarray(part.length)
      this.#send(part)
    }
    if (!this.#chunk || this.#chunk.length > 0) return
    const done = this.#done
    this.#done = undefined
    this.#chunk = undefined
    done?.()
  }
}

/** Bytes from the guest: credit is granted as they are read. */
export class GuestOutput extends Readable {
  readonly #grant: (count: number) => void
  #received = 0
  #granted = OUTPUT_WINDOW

  constructor(grant: (count: number) => void) {
    super({ highWaterMark: OUTPUT_WINDOW })
    this.#grant = grant
  }

  /** @throws RangeError if the guest may not send so many */
  receive(bytes: Buffer): void {
    if (this.readableEnded || bytes.length > this.#granted - this.#received) {
      throw new RangeError('more output than was granted')
    }
    this.#received += bytes.length
    if (this.destroyed) this.#update()
    else if (bytes.length > 0) this.push(bytes)
  }

  finish(): void {
    if (!this.destroyed) this.push(null)
  }

  override _read(): void {}

  /** Every way of reading comes down to this. When Node calls `_read`, what is being read is still counted as kept. */
  override read(size?: number): unknown {
    const chunk: unknown = super.read(size)
    this.#update()
    return chunk
  }

  override _destroy(error: Error | null, callback: Done): void {
    callback(error)
    this.#update()
  }

  #update(): void {
    const kept = this.destroyed ? 0 : this.readableLength
    const more = this.#received - kept + OUTPUT_WINDOW - this.#granted
    if (more < OUTPUT_WINDOW / 4) return
    this.#granted += more
    this.#grant(more)
  }
}
