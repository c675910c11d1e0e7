import { FrameChannel } from '../backends/net/frame-channel.js'
import { FrameStream } from '../backends/net/frame-stream.js'
import {
  type NetAttachment,
  type NetBackend,
  type NetChannel,
  NO_OFFLOADS,
} from '../backends/net/net-backend.js'
import { CapturePoint } from '../backends/net/pcap-capture.js'
import { Tap } from '../backends/net/tap.js'
import type { Channel } from '../isolation/channel.js'
import type { NetConfig } from '../machine/device-options.js'
import type { NetForm, ServedNetForm } from '../machine/isolated/protocol.js'

/** A network card's configuration, with a backend for this process. */
export function netConfig({ net, ...others }: NetForm, channel: Channel): NetConfig {
  return { ...others, backend: 'fds' in net ? Tap.inherited(net) : new ServedNet(net, channel) }
}

/** A network backend that the program serves. */
export class ServedNet implements NetBackend {
  /** The program's for it. */
  readonly number: number
  readonly name: string
  readonly mac: string
  readonly mtu: number | undefined
  readonly offloads = NO_OFFLOADS
  readonly #connection: Channel
  readonly #capture = new CapturePoint()
  #frames: FrameStream | undefined
  #channel: FrameChannel | undefined

  constructor({ served, name, mac, mtu }: ServedNetForm, connection: Channel) {
    this.name = name
    this.mac = mac
    this.mtu = mtu
    this.number = served
    this.#connection = connection
  }

  /** Frames for the guest that were lost. */
  get overruns(): number {
    return this.#channel?.overruns ?? 0
  }

  async open(): Promise<void> {
    const stream = this.#connection.open('net', { net: this.number })
    this.#frames = new FrameStream(stream, {
      frame: (frame) => this.#channel?.deliver(frame) ?? true,
      ended: () => this.#channel?.linkChanged(false),
    })
  }

  attach(attachment: NetAttachment): NetChannel {
    this.#channel = new FrameChannel(attachment, {
      send: (frame) => this.#frames?.send(frame),
      drained: () => this.#frames?.resume(),
      capture: this.#capture,
    })
    return this.#channel
  }

  /** The program's backend has lost what it is connected to, or has it again. */
  linkChanged(up: boolean): void {
    this.#channel?.linkChanged(up)
  }

  async close(): Promise<void> {
    this.#frames?.close()
    await this.#channel?.close()
  }
}
