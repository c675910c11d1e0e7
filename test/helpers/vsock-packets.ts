import { HEADER_SIZE } from '../../lib/devices/virtio/vsock/abi.js'
import type { Packet } from '../../lib/devices/virtio/vsock/packet.js'

/** A packet's header as a guest reads it. */
export interface ReceivedPacket extends Packet {
  sourceCid: bigint
  destinationCid: bigint
  length: number
}

/** Virtio 1.2, 5.10.6: struct virtio_vsock_hdr. */
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

/** The whole of a packet. */
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
