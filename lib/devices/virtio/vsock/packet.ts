import { HEADER_SIZE, VIRTIO_VSOCK_TYPE_STREAM } from './abi.js'

/** The fields of a packet's header, apart from its addresses' context IDs and its length. */
export interface Packet {
  readonly sourcePort: number
  readonly destinationPort: number
  readonly type: number
  readonly op: number
  readonly flags: number
  /** What the sender can buffer for the connection, and what its reader has taken so far, modulo 2^32: bytes. */
  readonly bufferAllocation: number
  readonly forwardCount: number
}

// 5.10.6: struct virtio_vsock_hdr in 32-bit words
const SOURCE_CID = 0
const DESTINATION_CID = 2
const SOURCE_PORT = 4
const DESTINATION_PORT = 5
const LENGTH = 6
const TYPE_AND_OP = 7
const FLAGS = 8
const BUFFER_ALLOCATION = 9
const FORWARD_COUNT = 10

/** A header as it lies in guest memory: one for all packets of a direction, which costs none of them an object. */
export class PacketHeader implements Packet {
  /** What is copied from the guest, or to it. */
  readonly bytes = new Uint8Array(HEADER_SIZE)
  readonly #words = new Uint32Array(this.bytes.buffer)

  /** From one context ID, below 2^32, to another. */
  address(source: number, destination: number): void {
    this.#words[SOURCE_CID] = source
    this.#words[DESTINATION_CID] = destination
  }

  /** Whether it is from one context ID to another. */
  isBetween(source: number, destination: number): boolean {
    const words = this.#words
    return (
      words[SOURCE_CID] === source &&
      words[SOURCE_CID + 1] === 0 &&
      words[DESTINATION_CID] === destination &&
      words[DESTINATION_CID + 1] === 0
    )
  }

  /** All but the context IDs. */
  fill(packet: Packet, length: number): void {
    const words = this.#words
    words[SOURCE_PORT] = packet.sourcePort
    words[DESTINATION_PORT] = packet.destinationPort
    words[LENGTH] = length
    words[TYPE_AND_OP] = packet.type | (packet.op << 16)
    words[FLAGS] = packet.flags
    words[BUFFER_ALLOCATION] = packet.bufferAllocation
    words[FORWARD_COUNT] = packet.forwardCount
  }

  get sourcePort(): number {
    return this.#words[SOURCE_PORT]!
  }

  get destinationPort(): number {
    return this.#words[DESTINATION_PORT]!
  }

  /** Bytes of data that follow the header. */
  get length(): number {
    return this.#words[LENGTH]!
  }

  get type(): number {
    return this.#words[TYPE_AND_OP]! & 0xffff
  }

  get op(): number {
    return this.#words[TYPE_AND_OP]! >>> 16
  }

  get flags(): number {
    return this.#words[FLAGS]!
  }

  get bufferAllocation(): number {
    return this.#words[BUFFER_ALLOCATION]!
  }

  get forwardCount(): number {
    return this.#words[FORWARD_COUNT]!
  }
}

/** A packet about no connection of ours: the answer to what the guest should not have sent. */
export function resetPacket(sourcePort: number, destinationPort: number, op: number): Packet {
  const type = VIRTIO_VSOCK_TYPE_STREAM
  return { sourcePort, destinationPort, type, op, flags: 0, bufferAllocation: 0, forwardCount: 0 }
}
