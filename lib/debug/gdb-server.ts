import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { DebugSupport } from './debug-support.js'
import type { DebugTarget } from './debug-target.js'
import { Debugger } from './debugger.js'
import { GdbSession, type Outcome } from './gdb-session.js'
import { encodePacket, type GdbInput, PacketDecoder } from './packet.js'
import { PACKET_SIZE } from './replies.js'

export type ListenAddress =
  | { readonly host: string; readonly port: number }
  | { readonly path: string }

/** Listens for one GDB at a time. */
export class GdbServer {
  readonly #serve: (client: Duplex) => Promise<void>
  readonly #server: Server
  #client: Socket | undefined
  #serving: Promise<void> = Promise.resolve()

  /** @param serve speaks with a client until it leaves: {@link serveGdb} */
  constructor(serve: (client: Duplex) => Promise<void>) {
    this.#serve = serve
    this.#server = createServer((socket) => this.#accept(socket))
  }

  /** @throws Node's error of listen(2) or bind(2) */
  async listen(address: ListenAddress): Promise<ListenAddress> {
    this.#server.listen(address)
    await once(this.#server, 'listening')
    const bound = this.#server.address()
    if (bound === null || typeof bound === 'string') return address
    return { host: bound.address, port: bound.port }
  }

  /** Stops listening, and ends the conversation; the guest goes on without breakpoints. */
  async close(): Promise<void> {
    const closed = this.#server.listening ? once(this.#server, 'close') : undefined
    this.#server.close()
    this.#client?.destroy()
    await this.#serving
    await closed
  }

  /** The second of two clients is refused: both would move the same breakpoints. */
  #accept(socket: Socket): void {
    if (this.#client !== undefined) {
      socket.destroy()
      return
    }
    this.#client = socket
    socket.setNoDelay(true)
    // What ended it is of no interest: it has ended.
    socket.on('error', () => {})
    this.#serving = this.#serve(socket).finally(() => {
      socket.destroy()
      this.#client = undefined
    })
  }
}

/** Lets a client debug a machine, by GDB's remote serial protocol. Resolves when it has left. */
export async function serveGdb(
  target: DebugTarget,
  support: DebugSupport,
  client: Duplex,
): Promise<void> {
  const connection = new GdbConnection(client)
  const debug = await Debugger.attach(target, support, (stop) => {
    connection.send(session.stopped(stop))
    if (stop.kind === 'ended') connection.end()
  })
  const session = new GdbSession(debug)
  let outcome: Outcome = 'go-on'
  try {
    outcome = await connection.converse(session)
  } catch {
    // The client is gone.
  } finally {
    await debug.detach()
  }
  if (outcome === 'kill') target.kill()
}

/** Packets and acknowledgements on a socket. */
class GdbConnection {
  readonly #socket: Duplex
  /** For a client that asks for it again. */
  #last: Buffer | undefined
  #acks = true

  constructor(socket: Duplex) {
    this.#socket = socket
  }

  send(payload: Buffer | string): void {
    this.#last = encodePacket(payload)
    this.#write(this.#last)
  }

  end(): void {
    this.#socket.end()
  }

  /** Until the client leaves, by itself or by a packet. */
  async converse(session: GdbSession): Promise<Outcome> {
    const decoder = new PacketDecoder(PACKET_SIZE)
    for await (const chunk of this.#socket as AsyncIterable<Buffer>) {
      for (const input of decoder.push(chunk)) {
        const outcome = await this.#take(input, session)
        if (outcome !== 'go-on') return outcome
        // A client that sends and does not read waits.
        if (this.#socket.writableNeedDrain) await drained(this.#socket)
      }
    }
    return 'close'
  }

  async #take(input: GdbInput, session: GdbSession): Promise<Outcome> {
    switch (input.kind) {
      case 'interrupt':
        session.interrupt()
        return 'go-on'
      case 'nak':
        if (this.#acks && this.#last) this.#write(this.#last)
        return 'go-on'
      case 'bad-packet':
        if (this.#acks) this.#write('-')
        return 'go-on'
      case 'packet':
        if (this.#acks) this.#write('+')
        return this.#answer(input.payload, session)
      default:
        return 'go-on'
    }
  }

  async #answer(packet: Buffer, session: GdbSession): Promise<Outcome> {
    const { payload, outcome } = await session.handle(packet)
    if (payload !== undefined) this.send(payload)
    if (outcome !== 'no-ack') return outcome
    this.#acks = false
    return 'go-on'
  }

  #write(data: Buffer | string): void {
    if (this.#socket.writable) this.#socket.write(data)
  }
}

async function drained(socket: Duplex): Promise<void> {
  if (socket.destroyed) return
  await new Promise<void>((resolve) => {
    const done = () => {
      socket.off('drain', done)
      socket.off('close', done)
      resolve()
    }
    socket.on('drain', done)
    socket.on('close', done)
  })
}
