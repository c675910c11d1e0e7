import { FrameStream } from '../../backends/net/frame-stream.js'
import { type NetBackend, type NetChannel, NO_OFFLOADS } from '../../backends/net/net-backend.js'
import type { ChannelStream } from '../../isolation/channel-stream.js'
import { BounceMemory } from './bounce-memory.js'

/** Virtio 1.2, 5.1.6: bytes of the header before every frame. */
const HEADER = 12
/** Frames that may be on their way to the machine, and one on its way from it. */
const BUFFERS = 64
const TRANSMIT = BUFFERS
/** Bytes of a piece: the header and the longest frame. */
const PIECE = 0x1_1000
/** Bytes that wait for the machine before the network waits. */
const WAIT_ABOVE = 2 ** 18

/** What a network card of a machine's process is plugged into: frames go through memory of this process. */
export class NetServer {
  readonly #bounce = new BounceMemory(BUFFERS + 1, PIECE)
  readonly #channel: NetChannel
  #frames: FrameStream | undefined

  constructor(backend: NetBackend, linkChanged: (up: boolean) => void) {
    this.#channel = backend.attach({
      memory: this.#bounce.memory,
      pair: 0,
      tags: BUFFERS + 1,
      segments: 1,
      transmitted() {},
      received: (tag, length) => this.#received(tag, length),
      readable() {},
      completed: () => this.#channel.post(),
      linkChanged,
      failed: () => linkChanged(false),
    })
    const { mtu } = backend
    this.#channel.agree({ transmit: NO_OFFLOADS, receive: NO_OFFLOADS, mergeable: false, mtu })
    this.#channel.hold(true)
    for (let tag = 0; tag < BUFFERS; tag++) this.#post(tag)
    this.#channel.post()
  }

  /** The card's end is there. */
  connect(stream: ChannelStream): void {
    this.#frames?.close()
    this.#frames = new FrameStream(stream, {
      frame: (frame) => this.#send(frame),
      ended: () => this.#channel.hold(true),
    })
    stream.on('drain', () => this.#channel.hold(false))
    this.#stream = stream
    this.#channel.hold(false)
  }

  async close(): Promise<void> {
    this.#frames?.close()
    await this.#channel.close()
    this.#bounce.close()
  }

  #stream: ChannelStream | undefined

  #send(frame: Uint8Array): boolean {
    this.#bounce.write(TRANSMIT, HEADER_OF_ZEROES)
    this.#bounce.write(TRANSMIT, frame, HEADER)
    this.#channel.frame(TRANSMIT)
    this.#channel.segment(this.#bounce.address(TRANSMIT), HEADER + frame.length)
    this.#channel.transmit()
    return true
  }

  #received(tag: number, length: number): void {
    if (length > HEADER) this.#frames?.send(this.#bounce.read(tag, length - HEADER, HEADER))
    this.#post(tag)
    if ((this.#stream?.writableLength ?? 0) > WAIT_ABOVE) this.#channel.hold(true)
  }

  #post(tag: number): void {
    this.#channel.buffer(tag)
    this.#channel.segment(this.#bounce.address(tag), PIECE)
  }
}

const HEADER_OF_ZEROES = new Uint8Array(HEADER)
