import type { BlockBackend } from '../../../backends/block/block-backend.js'
import { type FeatureBits, featureBits } from '../abi.js'
import * as abi from './abi.js'

/** Bytes of the longest segment that a request may have. */
export const SEGMENT_SIZE_MAX = 2 ** 20

/** Sectors of the longest range that one request may discard or zero: a bound on the work behind it. */
export const RANGE_SECTORS_MAX = 2 ** 22

/** What the configuration space is made from. */
export interface BlockLimits {
  readonly backend: BlockBackend
  readonly queues: number
  /** Segments that a request's data may have. */
  readonly segmentsMax: number
}

/** The features that a backend allows for (virtio 1.2, 5.2.3). */
export function blockFeatures({ backend, queues }: BlockLimits): FeatureBits {
  const { readOnly, geometry, discards, writesZeroes } = backend
  return featureBits(
    abi.VIRTIO_BLK_F_SIZE_MAX,
    abi.VIRTIO_BLK_F_SEG_MAX,
    abi.VIRTIO_BLK_F_FLUSH,
    abi.VIRTIO_BLK_F_CONFIG_WCE,
    ...(readOnly ? [abi.VIRTIO_BLK_F_RO] : []),
    ...(queues > 1 ? [abi.VIRTIO_BLK_F_MQ] : []),
    ...(geometry ? [abi.VIRTIO_BLK_F_BLK_SIZE, abi.VIRTIO_BLK_F_TOPOLOGY] : []),
    ...(discards && !readOnly ? [abi.VIRTIO_BLK_F_DISCARD] : []),
    ...(writesZeroes && !readOnly ? [abi.VIRTIO_BLK_F_WRITE_ZEROES] : []),
  )
}

/** The configuration space (virtio 1.2, 5.2.4). Fields of features that are not offered say nothing. */
export function blockConfig({ backend, queues, segmentsMax }: BlockLimits): Uint8Array {
  const bytes = new Uint8Array(abi.CONFIG_SIZE)
  const view = new DataView(bytes.buffer)
  const { logicalBlockSize, physicalBlockSize } = backend.geometry ?? {
    logicalBlockSize: abi.SECTOR_SIZE,
    physicalBlockSize: abi.SECTOR_SIZE,
  }
  setCapacity(bytes, backend.capacity)
  view.setUint32(abi.CONFIG_SIZE_MAX, SEGMENT_SIZE_MAX, true)
  view.setUint32(abi.CONFIG_SEG_MAX, segmentsMax, true)
  view.setUint32(abi.CONFIG_BLK_SIZE, logicalBlockSize, true)
  view.setUint8(abi.CONFIG_PHYSICAL_BLOCK_EXP, Math.log2(physicalBlockSize / logicalBlockSize))
  view.setUint16(abi.CONFIG_MIN_IO_SIZE, physicalBlockSize / logicalBlockSize, true)
  view.setUint8(abi.CONFIG_WRITEBACK, 1)
  view.setUint16(abi.CONFIG_NUM_QUEUES, queues, true)
  view.setUint32(abi.CONFIG_MAX_DISCARD_SECTORS, RANGE_SECTORS_MAX, true)
  view.setUint32(abi.CONFIG_MAX_DISCARD_SEG, 1, true)
  view.setUint32(abi.CONFIG_DISCARD_SECTOR_ALIGNMENT, physicalBlockSize / abi.SECTOR_SIZE, true)
  view.setUint32(abi.CONFIG_MAX_WRITE_ZEROES_SECTORS, RANGE_SECTORS_MAX, true)
  view.setUint32(abi.CONFIG_MAX_WRITE_ZEROES_SEG, 1, true)
  view.setUint8(abi.CONFIG_WRITE_ZEROES_MAY_UNMAP, 1)
  return bytes
}

/** @param capacity bytes */
export function setCapacity(config: Uint8Array, capacity: number): void {
  const sectors = BigInt(Math.floor(capacity / abi.SECTOR_SIZE))
  new DataView(config.buffer).setBigUint64(abi.CONFIG_CAPACITY, sectors, true)
}
