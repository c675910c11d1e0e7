import { throwLater } from '../../../util/throw-later.js'
import type { DescriptorChain } from '../queue/descriptor-chain.js'
import {
  HEADER_SIZE,
  VIRTIO_VSOCK_OP_CREDIT_REQUEST,
  VIRTIO_VSOCK_OP_CREDIT_UPDATE,
  VIRTIO_VSOCK_OP_REQUEST,
  VIRTIO_VSOCK_OP_RESPONSE,
  VIRTIO_VSOCK_OP_RST,
  VIRTIO_VSOCK_OP_RW,
  VIRTIO_VSOCK_OP_SHUTDOWN,
  VIRTIO_VSOCK_SHUTDOWN_RCV,
  VIRTIO_VSOCK_SHUTDOWN_SEND,
  VIRTIO_VSOCK_TYPE_STREAM,
} from './abi.js'
import { JoiningDuplex } from './joining-duplex.js'
import { Outbound } from './outbound.js'
import type { Packet, PacketHeader } from './packet.js'

/** Bytes that we buffer for one connection: what the guest may send before we have read any. */
export const BUFFER_ALLOCATION = 262144
/** Bytes that a program may have written before it is asked to wait: what Linux buffers for a connection. */
const WRITTEN_MAX = 262144
/** Milliseconds for which the guest may leave us without credit until we ask: Linux tells of new room by itself. */
const CREDIT_PATIENCE = 50

/** How a stream reaches its device. */
export interface VsockStreamEvents {
  /** A packet without data is to go to the guest. */
  send(packet: Packet): void
  /** There is data that may go to the guest. */
  ready(): void
  /** The connection is over: forget it. */
  closed(): void
}

type Done = (error?: Error | null) => void

/** A connection with a program in the guest, as a Node stream. Emits `connect` when the guest has accepted it. */
export class VsockStream extends JoiningDuplex {
  /** The port on the host's side, and on the guest's. */
  readonly localPort: number
  /** The guest's port. */
  readonly remotePort: number
  /** Whether the guest has not answered yet. */
  connecting: boolean
  readonly #events: VsockStreamEvents
  readonly #outbound = new Outbound()
  #done: Done | undefined
  #received = 0
  #announced = 0
  #sent = 0
  #peerAllocation = 0
  #peerForwarded = 0
  /** Since the guest's last packet. */
  #creditAsked = false
  #creditTimer: NodeJS.Timeout | undefined
  #over = false

  constructor(
    localPort: number,
    remotePort: number,
    connecting: boolean,
    events: VsockStreamEvents,
  ) {
    super({
      allowHalfOpen: true,
      readableHighWaterMark: BUFFER_ALLOCATION / 2,
      writableHighWaterMark: WRITTEN_MAX,
    })
    this.localPort = localPort
    this.remotePort = remotePort
    this.connecting = connecting
    this.#events = events
    this.#send(connecting ? VIRTIO_VSOCK_OP_REQUEST : VIRTIO_VSOCK_OP_RESPONSE)
  }

  /** What the guest can buffer, and what its program has taken so far, modulo 2^32: bytes. */
  takeCredit(allocation: number, forwarded: number): void {
    this.#peerAllocation = allocation
    this.#peerForwarded = forwarded
    this.#creditAsked = false
  }

  /** The guest's packet about this connection. `data` is the stream's own. */
  receive(packet: Packet, data: Buffer | undefined): void {
    this.takeCredit(packet.bufferAllocation, packet.forwardCount)
    switch (packet.op) {
      case VIRTIO_VSOCK_OP_RESPONSE:
        if (this.connecting) {
          this.connecting = false
          try {
            this.emit('connect')
          } catch (error) {
            throwLater(error)
          }
        }
        break
      case VIRTIO_VSOCK_OP_RST:
        this.#over = true
        this.deliverEnd()
        if (this.connecting) this.destroy(refused(this.remotePort))
        else this.destroy()
        return
      case VIRTIO_VSOCK_OP_SHUTDOWN:
        if (packet.flags & VIRTIO_VSOCK_SHUTDOWN_SEND) this.deliverEnd()
        if (packet.flags & VIRTIO_VSOCK_SHUTDOWN_RCV) this.#endWriting()
        break
      case VIRTIO_VSOCK_OP_RW:
        if (data !== undefined) this.#takeData(data)
        break
      case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
        this.#send(VIRTIO_VSOCK_OP_CREDIT_UPDATE)
        break
    }
    if (this.#sendable > 0) this.#events.ready()
  }

  /** Whether data may go to the guest now. */
  get hasData(): boolean {
    return !this.connecting && this.#sendable > 0
  }

  /**
   * Puts the next data packet, of at most `room` bytes of data, into a chain that has room for it.
   * @returns the packet's bytes, 0 if the chain lies outside guest memory: the data is lost then
   */
  put(chain: DescriptorChain, header: PacketHeader, room: number): number {
    const length = Math.min(this.#sendable, room)
    header.fill(this.#packet(VIRTIO_VSOCK_OP_RW), length)
    this.#sent = (this.#sent + length) >>> 0
    const written =
      chain.write(0, header.bytes) && this.#outbound.moveTo(chain, HEADER_SIZE, length)
    if (this.#outbound.length === 0) {
      this.#finishWrite()
    } else if (this.#sendable === 0) {
      this.#askForCredit()
    }
    return written ? HEADER_SIZE + length : 0
  }

  /** Every way of reading comes down to this. When Node calls `_read`, what is being read is still counted as kept. */
  override read(size?: number): unknown {
    const chunk: unknown = super.read(size)
    // The reader has caught up: say so before the guest runs out of credit.
    const taken = (this.#forwarded - this.#announced) >>> 0
    if (!this.#over && !this.connecting && taken >= BUFFER_ALLOCATION / 2) {
      this.#send(VIRTIO_VSOCK_OP_CREDIT_UPDATE)
    }
    return chunk
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    this.#outbound.add(chunk)
    this.#written(done)
  }

  override _writev(chunks: { chunk: Buffer }[], done: Done): void {
    for (const { chunk } of chunks) this.#outbound.add(chunk)
    this.#written(done)
  }

  override _final(done: Done): void {
    if (!this.#over) this.#send(VIRTIO_VSOCK_OP_SHUTDOWN, VIRTIO_VSOCK_SHUTDOWN_SEND)
    done()
  }

  override _destroy(error: Error | null, callback: Done): void {
    if (!this.#over) this.#send(VIRTIO_VSOCK_OP_RST)
    this.#over = true
    this.#outbound.clear()
    this.dropUnread()
    clearTimeout(this.#creditTimer)
    this.#events.closed()
    this.#finishWrite(error ?? reset(this.remotePort))
    callback(error)
  }

  /** The guest has reset its device: there is nobody to tell. */
  abandon(): void {
    this.#over = true
    this.destroy()
  }

  get #sendable(): number {
    const credit = (this.#peerAllocation - ((this.#sent - this.#peerForwarded) >>> 0)) | 0
    return Math.max(0, Math.min(this.#outbound.length, credit))
  }

  /** Bytes that the reader has taken. */
  get #forwarded(): number {
    return (this.#received - this.readableLength) >>> 0
  }

  #written(done: Done): void {
    if (this.#over) {
      this.#outbound.clear()
      done(reset(this.remotePort))
      return
    }
    if (this.#outbound.length === 0) {
      done()
      return
    }
    this.#done = done
    if (this.#sendable > 0) this.#events.ready()
    else if (!this.connecting) this.#askForCredit()
  }

  #finishWrite(error?: Error): void {
    const done = this.#done
    this.#done = undefined
    try {
      done?.(error)
    } catch (thrown) {
      throwLater(thrown)
    }
  }

  #askForCredit(): void {
    this.#creditTimer ??= setTimeout(() => {
      this.#creditTimer = undefined
      if (this.#over || this.#creditAsked || this.#outbound.length === 0 || this.#sendable > 0)
        return
      this.#creditAsked = true
      this.#send(VIRTIO_VSOCK_OP_CREDIT_REQUEST)
    }, CREDIT_PATIENCE).unref()
  }

  #takeData(data: Buffer): void {
    if (this.ended) return
    // 5.10.6.3: no more than we have said that we can buffer.
    if (data.length > BUFFER_ALLOCATION - this.readableLength) {
      this.destroy() // without an error: what a guest does must not end a program that listens for none
      return
    }
    this.#received = (this.#received + data.length) >>> 0
    this.deliver(data)
  }

  #endWriting(): void {
    if (!this.writableEnded) this.end()
  }

  #packet(op: number, flags = 0): Packet {
    this.#announced = this.#forwarded
    return {
      sourcePort: this.localPort,
      destinationPort: this.remotePort,
      type: VIRTIO_VSOCK_TYPE_STREAM,
      op,
      flags,
      bufferAllocation: BUFFER_ALLOCATION,
      forwardCount: this.#announced,
    }
  }

  #send(op: number, flags = 0): void {
    this.#events.send(this.#packet(op, flags))
  }
}

function refused(port: number): Error {
  return Object.assign(new Error(`connect ECONNREFUSED vsock port ${port}`), {
    code: 'ECONNREFUSED',
  })
}

function reset(port: number): Error {
  return Object.assign(new Error(`ECONNRESET vsock port ${port}`), { code: 'ECONNRESET' })
}
