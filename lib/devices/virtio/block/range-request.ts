import type { DescriptorChain } from '../queue/descriptor-chain.js'
import {
  SECTOR_SIZE,
  VIRTIO_BLK_HEADER_SIZE,
  VIRTIO_BLK_RANGE_SIZE,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_UNSUPP,
  VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
} from './abi.js'
import { RANGE_SECTORS_MAX } from './block-config.js'

/** The data of a discard or write-zeroes request: one range, as the configuration space says (virtio 1.2, 5.2.6). */
export class RangeRequest {
  /** Bytes. */
  offset = 0
  length = 0
  unmap = false

  readonly #bytes = new Uint8Array(VIRTIO_BLK_RANGE_SIZE)
  readonly #words = new Uint32Array(this.#bytes.buffer)

  /**
   * @param capacity of the disk, in bytes
   * @returns VIRTIO_BLK_S_OK if the range can be worked on, else the status for the driver
   */
  parse(chain: DescriptorChain, capacity: number, mayUnmap: boolean): number {
    const length = chain.readableLength - VIRTIO_BLK_HEADER_SIZE
    if (length !== VIRTIO_BLK_RANGE_SIZE || !chain.read(VIRTIO_BLK_HEADER_SIZE, this.#bytes)) {
      return VIRTIO_BLK_S_IOERR
    }
    const [low, high, sectors, flags] = this.#words as unknown as [number, number, number, number]
    // 5.2.6.2: unknown flags, and unmap in a discard, are not supported.
    if ((flags & ~(mayUnmap ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0)) !== 0)
      return VIRTIO_BLK_S_UNSUPP
    this.offset = (high * 2 ** 32 + low) * SECTOR_SIZE
    this.length = sectors * SECTOR_SIZE
    this.unmap = flags !== 0
    const fits = this.length <= capacity && this.offset <= capacity - this.length
    return sectors > 0 && sectors <= RANGE_SECTORS_MAX && fits
      ? VIRTIO_BLK_S_OK
      : VIRTIO_BLK_S_IOERR
  }
}
