import { Duplex, Readable } from 'node:stream'
import { throwLater } from '../../../util/throw-later.js'
import { Inbound } from './inbound.js'

/** Node's own. */
const readableLength = Object.getOwnPropertyDescriptor(Readable.prototype, 'readableLength')!.get!

/**
 * A Duplex whose readable side keeps at most about twice the bytes that wait for the reader, in however small pieces they
 * came. Node's own keeps each Buffer by itself: a hundred bytes and more for each byte of a peer that sends single ones.
 */
export abstract class JoiningDuplex extends Duplex {
  /** What comes after what Node keeps, while that is unread. */
  readonly #inbound = new Inbound()
  #readableTold = false
  #ended = false

  override _read(): void {}

  static {
    // Not in the class's body: the types have it as a property, which an accessor must not override.
    Object.defineProperty(JoiningDuplex.prototype, 'readableLength', {
      configurable: true,
      get(this: JoiningDuplex) {
        return this.#keptByNode + this.#inbound.length
      },
    })
  }

  override read(size?: number): unknown {
    if (this.#inbound.length > 0 && this.#needsInbound(size)) this.#pushInbound()
    const chunk: unknown = super.read(size)
    // A reader that has stopped is told of no more unless Node has some.
    if (this.#inbound.length > 0 && this.#keptByNode === 0 && this.readableFlowing !== true) {
      this.#pushInbound()
    }
    return chunk
  }

  /** Whether no more is delivered. */
  protected get ended(): boolean {
    return this.#ended
  }

  /** Gives `data` to the reader, at once if it reads. What a listener throws is an uncaught exception. */
  protected deliver(data: Buffer): void {
    if (this.#keptByNode === 0 && this.#inbound.length === 0) {
      this.#push(data)
      return
    }
    this.#inbound.add(data)
    if (this.listenerCount('readable') > 0) this.#tellReadable()
  }

  /** Ends the readable side, once. */
  protected deliverEnd(): void {
    if (this.#ended) return
    this.#ended = true
    this.#pushInbound()
    this.push(null)
  }

  protected dropUnread(): void {
    this.#inbound.takeAll()
  }

  get #keptByNode(): number {
    return readableLength.call(this)
  }

  /** Whether a read wants more than Node keeps. Without a size, that is one chunk for a flowing reader, and else all. */
  #needsInbound(size: number | undefined): boolean {
    const kept = this.#keptByNode
    if (kept === 0) return true
    if (size === undefined) return this.readableFlowing !== true
    return size > kept && size <= kept + this.#inbound.length
  }

  #pushInbound(): void {
    for (const chunk of this.#inbound.takeAll()) {
      if (this.destroyed) return
      this.#push(chunk)
    }
  }

  #push(chunk: Buffer): void {
    try {
      this.push(chunk)
    } catch (error) {
      throwLater(error)
    }
  }

  /** Node does so for what it is given. */
  #tellReadable(): void {
    if (this.#readableTold) return
    this.#readableTold = true
    process.nextTick(() => {
      this.#readableTold = false
      if (!this.destroyed && this.#inbound.length > 0) this.emit('readable')
    })
  }
}
