import { invalidOption, VmmError } from '../../errors.js'
import type { ChannelStream } from '../../isolation/channel-stream.js'
import type { Content } from '../../isolation/frames.js'
import type { VmVsock, VsockListener, VsockStream } from '../device-handles.js'
import * as check from '../option-checks.js'
import type { RemoteMachine } from './remote-handles.js'

const PORT_MAX = 2 ** 32 - 2

const checkConnected = check.object({ key: check.integer(0), localPort: check.integer(0) })
const checkAccepted = check.object({
  localPort: check.integer(0),
  remotePort: check.integer(0),
  fallback: check.withDefault(check.boolean, false),
})

/** A machine's socket device in another process: its connections are streams of the channel. */
export class RemoteVsock implements VmVsock {
  readonly name = 'vsock'
  readonly #machine: RemoteMachine
  readonly #listeners = new Map<number, VsockListener>()
  readonly #connecting = new Map<number, Connection>()
  #fallback: ((port: number, accept: () => VsockStream) => boolean) | undefined
  #nextKey = 0

  constructor(
    readonly cid: number,
    machine: RemoteMachine,
  ) {
    this.#machine = machine
  }

  get counters(): VmVsock['counters'] {
    const none = { rxPackets: 0, txPackets: 0, dropped: 0 }
    return { ...none, ...this.#machine.snapshot.vsock }
  }

  connect(port: number): VsockStream {
    checkPort(port)
    const key = this.#nextKey++
    const stream = this.#machine.channel.open('vsock', { port, key })
    stream.passErrors = true // that nobody listens in the guest
    const connection: Connection = connectionOf(stream, 0, port, true)
    this.#connecting.set(key, connection)
    stream.once('close', () => this.#connecting.delete(key))
    return connection
  }

  listen(port: number, listener: VsockListener): () => void {
    checkPort(port)
    if (this.#listeners.has(port))
      throw new VmmError('ERR_STATE', `vsock port ${port} is listened on already`)
    this.#listeners.set(port, listener)
    this.#machine.channel.send('listen', { port })
    return () => {
      if (this.#listeners.get(port) !== listener) return
      this.#listeners.delete(port)
      this.#machine.channel.send('unlisten', { port })
    }
  }

  /** As {@link VirtioVsock.setFallback}; the guest's connections are accepted before it is asked. */
  setFallback(fallback: ((port: number, accept: () => VsockStream) => boolean) | undefined): void {
    this.#fallback = fallback
    this.#machine.channel.send('fallback', { on: fallback !== undefined })
  }

  /** The guest has accepted a connection. */
  connected({ value }: Content): void {
    const { key, localPort } = checkConnected(value, 'connected')
    const connection = this.#connecting.get(key)
    this.#connecting.delete(key)
    if (connection === undefined) return
    connection.localPort = localPort
    connection.connecting = false
    connection.passErrors = false
    connection.emit('connect')
  }

  /** The guest has made a connection. */
  accepted({ value }: Content, stream: ChannelStream): void {
    const { localPort, remotePort, fallback } = checkAccepted(value, 'accepted')
    const connection = connectionOf(stream, localPort, remotePort, false)
    const listener = this.#listeners.get(localPort)
    if (fallback && this.#fallback?.(localPort, () => connection)) return
    // What a listener throws is the program's own.
    if (listener) queueMicrotask(() => listener(connection))
    else stream.destroy()
  }
}

type Connection = { -readonly [K in keyof VsockStream]: VsockStream[K] } & ChannelStream

function connectionOf(
  stream: ChannelStream,
  localPort: number,
  remotePort: number,
  connecting: boolean,
): Connection & VsockStream {
  return Object.assign(stream, { localPort, remotePort, connecting })
}

function checkPort(port: number): void {
  if (!Number.isInteger(port) || port < 0 || port > PORT_MAX) {
    throw invalidOption('port', port, 'a whole number from 0 to 4294967294')
  }
}
