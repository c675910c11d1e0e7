import { connect, type Socket } from 'node:net'
import { encodePacket, PacketDecoder } from '../../lib/debug/packet.js'
import type { GdbAddress } from '../../lib/index.js'

/** A client of GDB's remote serial protocol that does what a test says, right or wrong. */
export class GdbClient implements Disposable {
  readonly socket: Socket
  /** Ends when the stub has closed the connection. */
  readonly closed: Promise<void>
  readonly #decoder = new PacketDecoder(1 << 20)
  readonly #packets: string[] = []
  #more: (() => void) | undefined
  #isClosed = false

  private constructor(socket: Socket) {
    this.socket = socket
    this.closed = new Promise((resolve) => socket.once('close', () => resolve()))
    void this.closed.then(() => {
      this.#isClosed = true
      this.#more?.()
    })
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      for (const input of this.#decoder.push(chunk)) {
        if (input.kind === 'packet') this.#packets.push(input.payload.toString('latin1'))
      }
      this.#more?.()
    })
  }

  static async connect(address: GdbAddress): Promise<GdbClient> {
    const socket = 'path' in address ? connect(address.path) : connect(address.port, address.host)
    await new Promise<void>((resolve, reject) =>
      socket.once('connect', resolve).once('error', reject),
    )
    return new GdbClient(socket)
  }

  send(payload: string | Uint8Array): void {
    this.socket.write(encodePacket(payload))
  }

  raw(bytes: string | Uint8Array): void {
    this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes)
  }

  /** The next packet; `undefined` if the connection ends instead. */
  async receive(): Promise<string | undefined> {
    while (this.#packets.length === 0 && !this.#isClosed) {
      await new Promise<void>((resolve) => {
        this.#more = resolve
      })
    }
    return this.#packets.shift()
  }

  ask(payload: string | Uint8Array): Promise<string | undefined> {
    this.send(payload)
    return this.receive()
  }

  [Symbol.dispose](): void {
    this.socket.destroy()
  }
}
