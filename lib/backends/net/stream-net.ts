import { EventEmitter } from 'node:events'
import { connect } from 'node:net'
import type { Duplex } from 'node:stream'
import { asError, invalidOption, VmmError } from '../../errors.js'
import { FrameChannel } from './frame-channel.js'
import { FrameStream } from './frame-stream.js'
import { checkMac, randomMac } from './mac-address.js'
import {
  type Capture,
  type CaptureOptions,
  type CaptureTarget,
  type MacAddress,
  type NetAttachment,
  type NetBackend,
  type NetChannel,
  NO_OFFLOADS,
} from './net-backend.js'
import { CapturePoint } from './pcap-capture.js'

/** The path of a Unix socket to connect to; a stream that is connected; or what makes one, when the backend is opened. */
export type StreamSource = string | Duplex | (() => Duplex | Promise<Duplex>)

/** What {@link StreamNet} takes. */
export interface StreamNetOptions {
  /** The guest's MAC address: a random one, locally administered, unless told. */
  mac?: MacAddress
  /** For errors and logs. */
  name?: string
}

/** The events of a {@link StreamNet}, with their arguments. */
export interface StreamNetEvents {
  /** The peer has gone, or broke the protocol: the guest's link is down from here on. */
  disconnect: [error: Error | undefined]
}

/**
 * Ethernet frames over any byte stream, each behind its length in four bytes, the most significant first: what QEMU's
 * `-netdev stream` and passt's socket speak. Needs no privileges.
 *
 * A peer that is slow makes frames from the guest be dropped once 1 MiB waits; a guest that is slow makes the peer wait.
 * @example `new StreamNet('/run/user/1000/net.sock')`
 */
export class StreamNet extends EventEmitter<StreamNetEvents> implements NetBackend {
  readonly name: string
  readonly mac: MacAddress
  readonly offloads = NO_OFFLOADS
  readonly #source: StreamSource
  readonly #capture = new CapturePoint()
  #frames: FrameStream | undefined
  #channel: FrameChannel | undefined
  #connected = false
  #opened = false

  /** @throws VmmError `ERR_INVALID_OPTION` */
  constructor(source: StreamSource, options: StreamNetOptions = {}) {
    super()
    const good =
      (typeof source === 'string' && source !== '' && !source.includes('\0')) ||
      typeof source === 'function' ||
      isDuplex(source)
    if (!good) {
      const expected = 'the path of a Unix socket, a duplex stream, or a function that makes one'
      throw invalidOption('source', source, expected)
    }
    this.#source = source
    this.mac = options.mac === undefined ? randomMac() : checkMac(options.mac)
    this.name = options.name ?? (typeof source === 'string' ? source : `stream ${this.mac}`)
  }

  /** Whether there is a peer. */
  get connected(): boolean {
    return this.#connected
  }

  /** Frames for the guest that were lost. */
  get overruns(): number {
    return this.#channel?.overruns ?? 0
  }

  /** Frames from the guest that the peer did not take. */
  get dropped(): number {
    return this.#frames?.dropped ?? 0
  }

  /**
   * @throws VmmError `ERR_NET` if there is no peer to connect to
   * @throws VmmError `ERR_STATE` if it is or was open: a stream is used once
   */
  async open(): Promise<void> {
    if (this.#opened) throw new VmmError('ERR_STATE', `${this.name} is open already`)
    this.#opened = true
    let stream: Duplex
    try {
      stream = await this.#connect()
    } catch (cause) {
      this.#opened = false
      const reason = asError(cause).message
      const expected = 'a socket that somebody listens on'
      const details = { option: 'source', value: this.#source, expected, cause }
      throw new VmmError('ERR_NET', `${this.name}: ${reason}: expected ${expected}`, details)
    }
    this.#connected = true
    this.#frames = new FrameStream(stream, {
      frame: (frame) => this.#receive(frame),
      ended: (error) => {
        this.#connected = false
        this.#channel?.linkChanged(false)
        this.emit('disconnect', error)
      },
    })
  }

  attach(attachment: NetAttachment): NetChannel {
    if (!this.#frames) throw new VmmError('ERR_STATE', `${this.name} is not open`)
    if (this.#channel) throw new VmmError('ERR_STATE', `${this.name} serves another device already`)
    this.#channel = new FrameChannel(attachment, {
      send: (frame) => this.#frames?.send(frame),
      drained: () => this.#frames?.resume(),
      capture: this.#capture,
    })
    if (!this.#connected) this.#channel.linkChanged(false)
    return this.#channel
  }

  capture(target: CaptureTarget, options?: CaptureOptions): Capture {
    if (!this.#frames) throw new VmmError('ERR_STATE', `${this.name} is not open`)
    return this.#capture.start(this.name, target, options)
  }

  async close(): Promise<void> {
    this.#connected = false
    this.#frames?.close()
    this.#frames = undefined
    await this.#capture.close()
    await this.#channel?.close()
    this.#channel = undefined
  }

  /** Before there is a device frames are lost, as with any card that is not set up. */
  #receive(frame: Uint8Array): boolean {
    if (!this.#channel) return true
    return this.#channel.deliver(frame)
  }

  async #connect(): Promise<Duplex> {
    const source = this.#source
    if (typeof source === 'function') {
      const stream = await source()
      if (!isDuplex(stream)) throw invalidOption('source', stream, 'a duplex stream')
      return stream
    }
    if (typeof source !== 'string') return source
    const socket = connect(source)
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    socket.unref() // what is running keeps the process, not what it is connected to
    return socket
  }
}

function isDuplex(value: unknown): value is Duplex {
  const stream = value as Partial<Duplex> | null
  return (
    typeof stream === 'object' &&
    stream !== null &&
    typeof stream.write === 'function' &&
    typeof stream.pause === 'function' &&
    typeof stream.destroy === 'function' &&
    stream.destroyed === false
  )
}
