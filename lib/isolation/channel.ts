import type { Duplex } from 'node:stream'
import { asError, VmmError } from '../errors.js'
import { ChannelStream } from './channel-stream.js'
import { errorForm, errorFromForm } from './error-form.js'
import {
  type Content,
  decodeContent,
  encodeContent,
  encodeFrame,
  type Frame,
  FrameDecoder,
  type FrameKind,
  frameKinds,
  ID_MAX,
  violation,
} from './frames.js'

/** Streams and requests that the peer may have begun and not ended. */
const STREAMS_MAX = 4096
const REQUESTS_MAX = 1024
/** Bytes that may wait for the peer before streams wait too; before we listen to it no more; and before it is given up. */
const SEND_LOW = 2 ** 20
const SEND_HIGH = 2 ** 23
const SEND_MAX = 2 ** 26

/** What a request is answered by. */
export interface Answer {
  readonly value?: unknown
  readonly bytes?: Uint8Array
}

/** Whoever uses a channel. What these throw of a peer's message gives the peer up. */
export interface ChannelEvents {
  message(name: string, content: Content): void
  /** What it rejects with is told to the peer. */
  request(name: string, content: Content): Promise<Answer>
  /** The peer has begun a stream. */
  opened(name: string, content: Content, stream: ChannelStream): void
  /** It is over; `error` if the peer broke the protocol, or the connection failed. Once. */
  closed(error: Error | undefined): void
}

interface Waiting {
  resolve(content: Content): void
  reject(error: Error): void
}

/**
 * Messages, requests and streams between two processes, over one connection. Neither side trusts the other: what comes is
 * bounded and checked, and a peer that breaks the protocol, or does not take what it has asked for, is given up.
 */
export class Channel {
  readonly #connection: Duplex
  readonly #events: ChannelEvents
  readonly #decoder = new FrameDecoder()
  readonly #waiting = new Map<number, Waiting>()
  /** Begun by us, and by the peer. */
  readonly #ours = new Map<number, ChannelStream>()
  readonly #theirs = new Map<number, ChannelStream>()
  readonly #resume = new Set<() => void>()
  #nextId = 0
  #serving = 0
  #closed = false

  constructor(connection: Duplex, events: ChannelEvents) {
    this.#connection = connection
    this.#events = events
    connection.on('data', (chunk: Buffer) => this.#receive(chunk))
    connection.on('drain', () => this.#drained())
    connection.on('end', () => this.close())
    connection.on('close', () => this.close())
    // How it failed says less than how the other process ended.
    connection.on('error', () => this.close())
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Requests that have not been answered. */
  get pending(): number {
    return this.#waiting.size
  }

  send(name: string, value?: unknown, bytes?: Uint8Array): void {
    this.#write(encodeContent(frameKinds.message, 0, [name, value], bytes))
  }

  /** @throws what the peer's handler rejected with; VmmError `ERR_ISOLATION` if there is no answer */
  request(name: string, value?: unknown, bytes?: Uint8Array): Promise<Content> {
    if (this.#closed) return Promise.reject(gone())
    return new Promise((resolve, reject) => {
      const id = this.#freeId(this.#waiting)
      this.#waiting.set(id, { resolve, reject })
      this.#write(encodeContent(frameKinds.request, id, [name, value], bytes))
    })
  }

  /** Begins a stream. */
  open(name: string, value?: unknown): ChannelStream {
    const id = this.#freeId(this.#ours)
    this.#write(encodeContent(frameKinds.open, id, [name, value]))
    const { data, credit, end, close } = frameKinds
    const stream = this.#stream(id, this.#ours, { data, credit, end, close })
    if (this.#closed) stream.receiveClose(gone())
    return stream
  }

  /** Ends it: requests and streams with an error. May be called again. */
  close(error?: Error): void {
    if (this.#closed) return
    this.#closed = true
    this.#connection.destroy()
    const reason = error ?? gone()
    for (const { reject } of this.#waiting.values()) reject(reason)
    this.#waiting.clear()
    for (const streams of [this.#ours, this.#theirs]) {
      for (const stream of [...streams.values()]) stream.receiveClose(undefined)
      streams.clear()
    }
    this.#goOn()
    this.#events.closed(error)
  }

  /** Resolves when the peer has taken most of what was sent, or the channel is over. */
  async drained(): Promise<void> {
    while (!this.#closed && this.#connection.writableLength >= SEND_LOW) {
      await new Promise<void>((resolve) => {
        this.#resume.add(resolve)
      })
    }
  }

  /** Ends it when what was sent has gone. */
  end(): void {
    this.#connection.end()
  }

  #receive(chunk: Buffer): void {
    try {
      for (const frame of this.#decoder.push(chunk)) {
        if (this.#closed) return
        this.#take(frame)
      }
    } catch (error) {
      this.close(blamed(error))
    }
  }

  #take({ kind, id, payload }: Frame): void {
    switch (kind) {
      case frameKinds.message: {
        const { name, content } = named(payload)
        this.#events.message(name, content)
        return
      }
      case frameKinds.request:
        this.#serve(id, payload)
        return
      case frameKinds.reply:
        this.#answered(id).resolve(decodeContent(payload))
        return
      case frameKinds.failure:
        this.#answered(id).reject(errorFromForm(decodeContent(payload).value))
        return
      case frameKinds.open: {
        if (this.#theirs.has(id) || this.#theirs.size >= STREAMS_MAX)
          throw violation('too many streams')
        const { name, content } = named(payload)
        const { dataBack: data, creditBack: credit, endBack: end, closeBack: close } = frameKinds
        const stream = this.#stream(id, this.#theirs, { data, credit, end, close })
        this.#events.opened(name, content, stream)
        return
      }
      default:
        this.#takeOfStream(kind, id, payload)
    }
  }

  /** What is about a stream that has ended here is not the peer's fault. */
  #takeOfStream(kind: FrameKind, id: number, payload: Buffer): void {
    const theirs = kind % 2 === 0
    const stream = (theirs ? this.#theirs : this.#ours).get(id)
    switch (kind) {
      case frameKinds.data:
      case frameKinds.dataBack:
        stream?.receive(payload)
        return
      case frameKinds.credit:
      case frameKinds.creditBack:
        if (payload.length !== 4) throw violation('credit that is no number')
        stream?.receiveCredit(payload.readUInt32LE(0))
        return
      case frameKinds.end:
      case frameKinds.endBack:
        stream?.receiveEnd()
        return
      default: {
        const { value } = decodeContent(payload)
        ;(theirs ? this.#theirs : this.#ours).delete(id)
        stream?.receiveClose(value === null ? undefined : errorFromForm(value))
      }
    }
  }

  #serve(id: number, payload: Buffer): void {
    if (this.#serving >= REQUESTS_MAX) throw violation('too many requests')
    const { name, content } = named(payload)
    this.#serving++
    this.#events
      .request(name, content)
      .then(
        ({ value, bytes }) => encodeContent(frameKinds.reply, id, value, bytes),
        (error: unknown) => encodeContent(frameKinds.failure, id, errorForm(error)),
      )
      .then(
        (frame) => {
          this.#serving--
          this.#write(frame)
        },
        (error: Error) => this.close(error),
      )
  }

  #answered(id: number): Waiting {
    const waiting = this.#waiting.get(id)
    if (waiting === undefined) throw violation('an answer that nobody waits for')
    this.#waiting.delete(id)
    return waiting
  }

  #stream(
    id: number,
    streams: Map<number, ChannelStream>,
    kinds: Readonly<Record<'data' | 'credit' | 'end' | 'close', FrameKind>>,
  ): ChannelStream {
    const stream = new ChannelStream({
      data: (bytes) => this.#write(encodeFrame(kinds.data, id, bytes)),
      credit: (bytes) => {
        const amount = Buffer.allocUnsafe(4)
        amount.writeUInt32LE(bytes)
        this.#write(encodeFrame(kinds.credit, id, amount))
      },
      end: () => this.#write(encodeFrame(kinds.end, id)),
      close: (error) => {
        streams.delete(id)
        this.#write(encodeContent(kinds.close, id, error && errorForm(error)))
      },
      ready: (resume) => {
        if (this.#connection.writableLength < SEND_LOW) return true
        this.#resume.add(resume)
        return false
      },
    })
    streams.set(id, stream)
    return stream
  }

  #write(frame: Buffer): void {
    if (this.#closed) return
    this.#connection.write(frame)
    const waiting = this.#connection.writableLength
    if (waiting > SEND_MAX) this.close(violation('it does not take what is for it'))
    // Who does not listen is not listened to: its requests would add to what waits.
    else if (waiting > SEND_HIGH) this.#connection.pause()
  }

  #drained(): void {
    if (this.#connection.isPaused()) this.#connection.resume()
    this.#goOn()
  }

  #goOn(): void {
    const resume = [...this.#resume]
    this.#resume.clear()
    for (const each of resume) each()
  }

  #freeId(used: ReadonlyMap<number, unknown>): number {
    do this.#nextId = this.#nextId === ID_MAX ? 0 : this.#nextId + 1
    while (used.has(this.#nextId))
    return this.#nextId
  }
}

/** Whatever came of a peer's message is its fault. */
function blamed(error: unknown): VmmError {
  if (error instanceof VmmError && error.code === 'ERR_ISOLATION') return error
  return violation(asError(error).message)
}

function gone(): VmmError {
  return new VmmError('ERR_ISOLATION', 'the other process is gone')
}

function named(payload: Buffer): { name: string; content: Content } {
  const { value, bytes } = decodeContent(payload)
  const [name, argument] = Array.isArray(value) ? (value as unknown[]) : []
  if (typeof name !== 'string') throw violation('a message without a name')
  return { name, content: { value: argument ?? undefined, bytes } }
}
