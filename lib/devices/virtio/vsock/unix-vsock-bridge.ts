import { createConnection, createServer, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { VmmError } from '../../../errors.js'
import { removeAtExit } from '../../../util/exit-paths.js'
import { joinStreams } from '../../../util/join-streams.js'

/** A connection with the guest. */
type GuestStream = Duplex & { readonly localPort: number }

/** What of a socket device is bridged. */
export interface BridgedVsock {
  connect(port: number): GuestStream
  setFallback(fallback: ((port: number, accept: () => Duplex) => boolean) | undefined): void
}

/** Bytes of the line that a client starts with. */
const LINE_MAX = 32

/**
 * A vsock device as Unix sockets, by Firecracker's convention: a program on the host connects to `path`, writes
 * `CONNECT <port>\n` and reads `OK <port>\n`; a program in the guest that connects to port N of the host reaches
 * whoever listens on `<path>_N`.
 */
export class UnixVsockBridge {
  /** Of its socket. */
  readonly path: string
  readonly #vsock: BridgedVsock
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #keepAtExit: (() => void) | undefined

  constructor(vsock: BridgedVsock, path: string) {
    this.path = path
    this.#vsock = vsock
    this.#server = createServer((socket) => this.#serve(socket))
  }

  /** Listens. @throws VmmError `ERR_INVALID_OPTION` if the socket cannot be made */
  async open(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (cause) => {
        reject(
          new VmmError('ERR_INVALID_OPTION', `vsock socket ${this.path}: ${cause.message}`, {
            option: 'path',
            value: this.path,
            expected: 'the path of a socket that does not exist yet',
            cause,
          }),
        )
      })
      this.#server.listen(this.path, resolve)
    })
    this.#keepAtExit = removeAtExit(this.path)
    this.#vsock.setFallback((port, accept) => this.#forward(port, accept))
  }

  /** Ends every connection and removes the socket. */
  async close(): Promise<void> {
    this.#vsock.setFallback(undefined)
    for (const socket of this.#sockets) socket.destroy()
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve))
    this.#keepAtExit?.()
  }

  /** The guest's connection waits for the host's: it is accepted only once that has been made. */
  #forward(port: number, accept: () => Duplex): boolean {
    const stream = accept()
    const socket = this.#track(createConnection(`${this.path}_${port}`))
    joinStreams(stream, socket)
    return true
  }

  #serve(socket: Socket): void {
    this.#track(socket)
    let line = ''
    const read = (chunk: Buffer) => {
      const end = chunk.indexOf(0x0a)
      line += chunk.subarray(0, end < 0 ? chunk.length : end).toString('latin1')
      if (end < 0 && line.length <= LINE_MAX) return
      socket.off('data', read)
      socket.pause()
      const port = /^CONNECT (\d{1,10})$/.exec(line)?.[1]
      if (end < 0 || port === undefined || Number(port) > 2 ** 32 - 2) {
        socket.destroy()
        return
      }
      const rest = chunk.subarray(end + 1)
      if (rest.length > 0) socket.unshift(rest)
      this.#connect(socket, Number(port))
    }
    socket.on('data', read)
  }

  #connect(socket: Socket, port: number): void {
    const stream = this.#vsock.connect(port)
    stream.once('connect', () => {
      socket.write(`OK ${stream.localPort}\n`)
      joinStreams(stream, socket)
    })
    stream.once('error', () => socket.destroy())
    socket.once('close', () => stream.destroy())
  }

  #track(socket: Socket): Socket {
    this.#sockets.add(socket)
    socket.on('error', () => socket.destroy())
    socket.once('close', () => this.#sockets.delete(socket))
    return socket
  }
}
