import { invalidOption, VmmError } from '../../../errors.js'
import { VIRTIO_ID_VSOCK } from '../abi.js'
import type { DescriptorChain } from '../queue/descriptor-chain.js'
import { drainQueue, type Virtqueue } from '../queue/virtqueue.js'
import type { DeviceContext, VirtioDevice } from '../virtio-device.js'
import {
  HEADER_SIZE,
  HOST_CID,
  RECEIVE_QUEUE,
  TRANSMIT_QUEUE,
  VIRTIO_VSOCK_OP_REQUEST,
  VIRTIO_VSOCK_OP_RST,
  VIRTIO_VSOCK_OP_RW,
  VIRTIO_VSOCK_TYPE_STREAM,
} from './abi.js'
import { type Packet, PacketHeader, resetPacket } from './packet.js'
import { VsockStream } from './vsock-stream.js'

/** What {@link VirtioVsock} takes. */
export interface VirtioVsockOptions {
  /** For logs and errors: `'vsock'` unless told. */
  name?: string
  /** The guest's context ID: 3 to 2^32 - 2, 3 unless told. */
  cid?: number
}

/** Takes connections that programs in the guest make to one port of the host. */
export type VsockListener = (stream: VsockStream) => void

const CONNECTIONS_MAX = 1024
/** Packets without data that wait for the guest; beyond them we take none from it. */
const CONTROL_MAX = 256
/** Packets after which the driver is shown what it has: it works on them while the others are filled. */
const SHOWN_AT_ONCE = 16
/** Bytes of data of one packet from the guest. */
const DATA_MAX = 65536
const PORT_MAX = 2 ** 32 - 2

/** A virtio socket device (virtio 1.2, section 5.10): connections between programs in the guest and Node streams. */
export class VirtioVsock implements VirtioDevice {
  readonly name: string
  readonly inOrder = true
  readonly deviceId = VIRTIO_ID_VSOCK
  readonly features = 0n
  readonly queueSizes = [256, 256, 16]
  readonly config = new Uint8Array(8)
  /** The guest's context id. */
  readonly cid: number
  /** Packets for the guest and from it, and those that were dropped. */
  readonly counters = { rxPackets: 0, txPackets: 0, dropped: 0 }

  readonly #listeners = new Map<number, VsockListener>()
  /** Asked about connections to ports that nobody listens on: whether it took the connection on. */
  #fallback: ((port: number, accept: () => VsockStream) => boolean) | undefined
  readonly #streams = new Map<string, VsockStream>()
  /** Streams with data for the guest, in turn. */
  readonly #ready = new Set<VsockStream>()
  readonly #control: Packet[] = []
  /** The stream that a packet was last for: most are for the same as the one before. */
  #last: VsockStream | undefined
  readonly #received = new PacketHeader()
  readonly #sent = new PacketHeader()
  #context: DeviceContext | undefined
  #nextPort = 2 ** 30

  /** @throws VmmError `ERR_INVALID_OPTION` */
  constructor(options: VirtioVsockOptions = {}) {
    const { name = 'vsock', cid = 3 } = options
    if (!Number.isInteger(cid) || cid < 3 || cid > PORT_MAX) {
      throw invalidOption('cid', cid, 'a whole number from 3 to 4294967294')
    }
    this.name = name
    this.cid = cid
    new DataView(this.config.buffer).setBigUint64(0, BigInt(cid), true)
    this.#sent.address(HOST_CID, cid)
  }

  /**
   * Connects to a port that a program in the guest listens on. The stream emits `connect`, or `error` with the code
   * `ECONNREFUSED`; what is written before is sent then.
   */
  connect(port: number): VsockStream {
    checkPort(port)
    do this.#nextPort = this.#nextPort >= 2 ** 31 ? 2 ** 30 : this.#nextPort + 1
    while (this.#streams.has(key(this.#nextPort, port)))
    return this.#add(this.#nextPort, port, true)
  }

  /**
   * Takes connections from the guest to `port` of the host, until the returned function is called.
   * @throws VmmError `ERR_STATE` if somebody listens on that port already
   */
  listen(port: number, listener: VsockListener): () => void {
    checkPort(port)
    if (this.#listeners.has(port))
      throw new VmmError('ERR_STATE', `vsock port ${port} is listened on already`)
    this.#listeners.set(port, listener)
    return () => {
      if (this.#listeners.get(port) === listener) this.#listeners.delete(port)
    }
  }

  /** Whoever takes connections to ports without a listener: {@link UnixVsockBridge}. */
  setFallback(fallback: ((port: number, accept: () => VsockStream) => boolean) | undefined): void {
    this.#fallback = fallback
  }

  activate(context: DeviceContext): void {
    this.#context = context
  }

  notify(queueIndex: number): boolean {
    const queue = this.#context?.queues[queueIndex]
    if (queue === undefined) return false
    if (queueIndex === TRANSMIT_QUEUE) return this.#takePackets(queue)
    return queueIndex === RECEIVE_QUEUE && this.#givePackets(queue)
  }

  /** No chain outlasts `notify`. */
  resetQueue(): void {}

  reset(): void {
    this.#context = undefined
    this.#control.length = 0
    this.#ready.clear()
    for (const stream of [...this.#streams.values()]) stream.abandon()
    this.#streams.clear()
  }

  async close(): Promise<void> {
    this.#listeners.clear()
    this.#fallback = undefined
  }

  #takePackets(queue: Virtqueue): boolean {
    return drainQueue(queue, {
      admit: () => this.#control.length < CONTROL_MAX,
      handle: (chain) => {
        this.#takePacket(chain)
        queue.push(chain.id, 0)
      },
      submit() {},
    })
  }

  #takePacket(chain: DescriptorChain): void {
    const header = this.#received
    if (!chain.read(0, header.bytes) || !header.isBetween(this.cid, HOST_CID)) {
      this.counters.dropped++
      return
    }
    const { length } = header
    if (length > DATA_MAX || length > chain.readableLength - HEADER_SIZE) {
      this.counters.dropped++
      return
    }
    const stream = this.#find(header.destinationPort, header.sourcePort)
    let data: Buffer | undefined
    if (stream !== undefined && length > 0 && header.op === VIRTIO_VSOCK_OP_RW) {
      data = Buffer.allocUnsafe(length)
      if (!chain.read(HEADER_SIZE, data)) {
        this.counters.dropped++
        return
      }
    }
    this.counters.txPackets++
    if (header.type !== VIRTIO_VSOCK_TYPE_STREAM)
      this.#refuse(header.destinationPort, header.sourcePort)
    else if (stream) stream.receive(header, data)
    else if (header.op === VIRTIO_VSOCK_OP_REQUEST) this.#accept(header)
    else if (header.op !== VIRTIO_VSOCK_OP_RST)
      this.#refuse(header.destinationPort, header.sourcePort)
  }

  #find(localPort: number, remotePort: number): VsockStream | undefined {
    const last = this.#last
    if (last?.localPort === localPort && last.remotePort === remotePort) return last
    this.#last = this.#streams.get(key(localPort, remotePort))
    return this.#last
  }

  #accept({ destinationPort, sourcePort, bufferAllocation, forwardCount }: Packet): void {
    const listener = this.#listeners.get(destinationPort)
    const accept = () => {
      const stream = this.#add(destinationPort, sourcePort, false)
      stream.takeCredit(bufferAllocation, forwardCount)
      return stream
    }
    const refuse = () => this.#refuse(destinationPort, sourcePort)
    if (this.#streams.size >= CONNECTIONS_MAX) refuse()
    else if (listener) {
      const stream = accept()
      queueMicrotask(() => listener(stream)) // what it throws is not the device's fault
    } else if (!this.#fallback?.(destinationPort, accept)) refuse()
  }

  #refuse(localPort: number, remotePort: number): void {
    this.#send(resetPacket(localPort, remotePort, VIRTIO_VSOCK_OP_RST))
  }

  #add(localPort: number, remotePort: number, connecting: boolean): VsockStream {
    const name = key(localPort, remotePort)
    const stream: VsockStream = new VsockStream(localPort, remotePort, connecting, {
      send: (packet) => this.#send(packet),
      ready: () => {
        if (this.#ready.has(stream)) return // and so has its turn, or waits for a buffer
        this.#ready.add(stream)
        this.#context?.schedule(RECEIVE_QUEUE)
      },
      closed: () => {
        this.#ready.delete(stream)
        if (this.#last === stream) this.#last = undefined
        if (this.#streams.get(name) === stream) this.#streams.delete(name)
      },
    })
    this.#streams.set(name, stream)
    return stream
  }

  #send(packet: Packet): void {
    this.#control.push(packet)
    this.#context?.schedule(RECEIVE_QUEUE)
  }

  #givePackets(queue: Virtqueue): boolean {
    const wasFull = this.#control.length >= CONTROL_MAX
    let given = 0
    const more = drainQueue(queue, {
      admit: () => this.#control.length > 0 || this.#nextReady() !== undefined,
      handle: (chain) => {
        this.#givePacket(queue, chain)
        if (++given % SHOWN_AT_ONCE === 0) queue.publish()
      },
      submit() {},
    })
    if (wasFull && this.#control.length < CONTROL_MAX) this.#context?.schedule(TRANSMIT_QUEUE)
    return more
  }

  #givePacket(queue: Virtqueue, chain: DescriptorChain): void {
    const room = Math.min(chain.writableLength - HEADER_SIZE, DATA_MAX)
    const written = room < 1 ? 0 : this.#fill(chain, room)
    if (written > 0) this.counters.rxPackets++
    else this.counters.dropped++
    queue.push(chain.id, written)
  }

  /** @returns the packet's bytes, 0 if the chain lies outside guest memory */
  #fill(chain: DescriptorChain, room: number): number {
    const header = this.#sent
    const control = this.#control.shift()
    if (control !== undefined) {
      header.fill(control, 0)
      return chain.write(0, header.bytes) ? HEADER_SIZE : 0
    }
    const stream = this.#nextReady()!
    const written = stream.put(chain, header, room)
    if (!stream.hasData) this.#ready.delete(stream)
    else if (this.#ready.size > 1) {
      this.#ready.delete(stream) // to the end of the line
      this.#ready.add(stream)
    }
    return written
  }

  #nextReady(): VsockStream | undefined {
    for (const stream of this.#ready) {
      if (stream.hasData) return stream
      this.#ready.delete(stream)
    }
    return undefined
  }
}

function key(localPort: number, remotePort: number): string {
  return `${localPort}:${remotePort}`
}

function checkPort(port: number): void {
  if (!Number.isInteger(port) || port < 0 || port > PORT_MAX) {
    throw invalidOption('port', port, 'a whole number from 0 to 4294967294')
  }
}
