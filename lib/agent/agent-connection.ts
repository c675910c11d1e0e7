import type { Duplex } from 'node:stream'
import { VmmError } from '../errors.js'
import { Settled } from '../util/settled.js'
import {
  encodeFrame,
  encodeWords,
  type Frame,
  FrameDecoder,
  HELLO,
  HELLO_MAGIC,
  PING,
  PONG,
  PROTOCOL_VERSION,
  SESSIONS_MAX,
} from './protocol.js'

/** One program or file that is worked with over a connection. */
export interface Session {
  /**
   * @returns whether the session is over
   * @throws RangeError if the agent may not send this frame, which ends the connection
   */
  receive(frame: Frame): boolean
  /** The connection is over before the session was. */
  lost(error: VmmError): void
}

export interface AgentConnectionEvents {
  /** The agent has said hello. */
  ready(): void
  /** Called once, however it ended. */
  closed(error: VmmError): void
}

/** A connection to the agent in a guest, over a stream of bytes. Whatever comes from there is not to be trusted. */
export class AgentConnection {
  readonly #stream: Duplex
  readonly #events: AgentConnectionEvents
  readonly #decoder = new FrameDecoder()
  readonly #sessions = new Map<number, Session>()
  #pong: Settled<void> | undefined
  #nextId = 0
  #greeted = false
  #over: VmmError | undefined

  constructor(stream: Duplex, events: AgentConnectionEvents) {
    this.#stream = stream
    this.#events = events
    stream.on('data', (chunk: Buffer) => this.#take(chunk))
    stream.on('error', (cause: Error) => this.close(gone(cause)))
    stream.once('end', () => this.close(gone()))
    stream.once('close', () => this.close(gone()))
    this.#write(encodeFrame(HELLO, 0, encodeWords(HELLO_MAGIC, PROTOCOL_VERSION)))
  }

  /**
   * Begins a session with a request that names it.
   * @throws VmmError `ERR_AGENT` if the connection is over or has its most sessions
   */
  open(session: Session, type: number, payload: Uint8Array): SessionLink {
    if (this.#over) throw this.#over
    if (this.#sessions.size >= SESSIONS_MAX) {
      throw new VmmError(
        'ERR_AGENT',
        `the agent has ${SESSIONS_MAX} programs and files at work, which is its most`,
        { value: SESSIONS_MAX, expected: 'one of them to end first' },
      )
    }
    do this.#nextId = (this.#nextId % 0xffff) + 1
    while (this.#sessions.has(this.#nextId))
    const id = this.#nextId
    this.#sessions.set(id, session)
    this.#write(encodeFrame(type, id, payload))
    return {
      send: (type, payload, stream) => {
        if (this.#sessions.get(id) === session) this.#write(encodeFrame(type, id, payload, stream))
      },
      break: (cause) => this.close(broken(cause.message)),
    }
  }

  /** Resolves when the agent has answered; never, if it does not. All who ask share a question. */
  ping(): Promise<void> {
    if (!this.#pong) {
      this.#pong = new Settled<void>()
      this.#write(encodeFrame(PING, 0))
    }
    return this.#pong.promise
  }

  /** Ends the connection, and every session with `error`. */
  close(error: VmmError): void {
    if (this.#over) return
    this.#over = error
    this.#stream.destroy()
    this.#events.closed(error)
    this.#pong?.reject(error)
    for (const session of [...this.#sessions.values()]) session.lost(error)
    this.#sessions.clear()
  }

  #write(bytes: Buffer): void {
    if (!this.#over) this.#stream.write(bytes)
  }

  #take(chunk: Buffer): void {
    try {
      for (const frame of this.#decoder.push(chunk)) {
        if (this.#over) return
        this.#handle(frame)
      }
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
      this.close(broken(error.message))
    }
  }

  #handle(frame: Frame): void {
    if (!this.#greeted) {
      this.#greet(frame)
      return
    }
    if (frame.type === PONG) {
      this.#pong?.resolve(undefined)
      this.#pong = undefined
      return
    }
    const session = this.#sessions.get(frame.session)
    if (!session) throw new RangeError(`a frame about session ${frame.session}, which there is not`)
    if (session.receive(frame)) this.#sessions.delete(frame.session)
  }

  #greet({ type, payload }: Frame): void {
    if (type !== HELLO || payload.length < 8 || payload.readUInt32LE(0) !== HELLO_MAGIC) {
      throw new RangeError('no hello')
    }
    const version = payload.readUInt32LE(4)
    if (version !== PROTOCOL_VERSION) {
      const message = `the agent speaks version ${version} of the protocol, this is version ${PROTOCOL_VERSION}`
      const expected = 'the agent that comes with this version of node-kvm'
      this.close(new VmmError('ERR_AGENT_VERSION', message, { value: version, expected }))
      return
    }
    this.#greeted = true
    this.#events.ready()
  }
}

/** How a session reaches its agent. */
export interface SessionLink {
  /** Does nothing when the session is over. */
  send(type: number, payload?: Uint8Array, stream?: number): void
  /** The agent did what it must not, outside {@link Session.receive}. */
  break(cause: Error): void
}

function gone(cause?: Error): VmmError {
  const message = 'the connection to the agent in the guest is gone'
  return new VmmError('ERR_AGENT', message, cause ? { cause } : {})
}

function broken(rule: string): VmmError {
  return new VmmError('ERR_AGENT_PROTOCOL', `the agent in the guest broke the protocol: ${rule}`)
}
