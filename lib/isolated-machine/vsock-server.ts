import type { VirtioVsock } from '../devices/virtio/vsock/virtio-vsock.js'
import type { VsockStream } from '../devices/virtio/vsock/vsock-stream.js'
import type { Channel } from '../isolation/channel.js'
import type { ChannelStream } from '../isolation/channel-stream.js'
import type { Content } from '../isolation/frames.js'
import type { VmVsock } from '../machine/device-handles.js'
import { joinStreams } from '../util/join-streams.js'

/** A machine's socket device for the program: each connection is a stream of the channel. */
export class VsockServer {
  readonly #vsock: VirtioVsock
  readonly #channel: Channel
  readonly #listening = new Map<number, () => void>()

  constructor(vsock: VmVsock, channel: Channel) {
    this.#vsock = vsock as VirtioVsock
    this.#channel = channel
  }

  /** @returns whether it was one of ours */
  message(name: string, values: Readonly<Record<string, unknown>>): boolean {
    const port = values.port as number
    switch (name) {
      case 'listen':
        this.#listening.set(
          port,
          this.#vsock.listen(port, (stream) => this.#accepted(stream, false)),
        )
        return true
      case 'unlisten':
        this.#listening.get(port)?.()
        return true
      case 'fallback':
        this.#vsock.setFallback(
          values.on === true
            ? (_port, accept) => {
                this.#accepted(accept(), true)
                return true
              }
            : undefined,
        )
        return true
      default:
        return false
    }
  }

  /** The program connects to the guest. */
  connect({ value }: Content, stream: ChannelStream): void {
    const { port, key } = value as { port: number; key: number }
    const guest = this.#vsock.connect(port)
    guest.once('connect', () => {
      this.#channel.send('connected', { key, localPort: guest.localPort })
    })
    joinStreams(guest, stream)
  }

  #accepted(guest: VsockStream, fallback: boolean): void {
    const { localPort, remotePort } = guest
    joinStreams(guest, this.#channel.open('accepted', { localPort, remotePort, fallback }))
  }
}
