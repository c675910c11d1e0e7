import { HEADER_SIZE, VIRTIO_VSOCK_TYPE_STREAM } from './abi.js'

/** The fields of a packet's header, apart from its addresses' context IDs and its length. */
export interface Packet {
  sourcePort: number
  destinationPort: number
  type: number
  op: number
  flags: number
  /** What the sender can buffer for the connection, and what its reader has taken so far, modulo 2^32: bytes. */
  bufferAllocation: number
  forwardCount: number
}

export interface ReceivedPacket extends Packet {
  sourceCid: bigint
  destinationCid: bigint
  length: number
}

export function parsePacket(bytes: Uint8Array): ReceivedPacket {
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER_SIZE)
  return {
    sourceCid: view.getBigUint64(0, true),
    destinationCid: view.getBigUint64(8, true),
    sourcePort: view.getUint32(16, true),
    destinationPort: view.getUint32(20, true),
    length: view.getUint32(24, true),
    type: view.getUint16(28, true),
    op: view.getUint16(30, true),
    flags: view.getUint32(32, true),
    bufferAllocation: view.getUint32(36, true),
    forwardCount: view.getUint32(40, true),
  }
}

export function formatPacket(
  packet: Packet,
  source: bigint,
  destination: bigint,
  data: Uint8Array,
): Uint8Array {
  const bytes = new Uint8Array(HEADER_SIZE + data.length)
  const view = new DataView(bytes.buffer)
  view.setBigUint64(0, source, true)
  view.setBigUint64(8, destination, true)
  view.setUint32(16, packet.sourcePort, true)
  view.setUint32(20, packet.destinationPort, true)
  view.setUint32(24, data.length, true)
  view.setUint16(28, packet.type, true)
  view.setUint16(30, packet.op, true)
  view.setUint32(32, packet.flags, true)
  view.setUint32(36, packet.bufferAllocation, true)
  view.setUint32(40, packet.forwardCount, true)
  bytes.set(data, HEADER_SIZE)
  return bytes
}

/** A packet about no connection of ours: the answer to what the guest should not have sent. */
export function resetPacket(sourcePort: number, destinationPort: number, op: number): Packet {
  const type = VIRTIO_VSOCK_TYPE_STREAM
  return { sourcePort, destinationPort, type, op, flags: 0, bufferAllocation: 0, forwardCount: 0 }
}
