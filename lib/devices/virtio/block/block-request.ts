import type { DescriptorChain } from '../queue/descriptor-chain.js'
import { SECTOR_SIZE, VIRTIO_BLK_HEADER_SIZE } from './abi.js'

/**
 * One request, as the chain states it: header, data, status. One object serves all requests in turn.
 * How the driver cut them into descriptors does not matter (virtio 1.2, 2.7.4.1).
 */
export class BlockRequest {
  type = 0
  /** Bytes; not below 2^53 if the guest says so. */
  offset = 0
  /** Bytes that the driver sends after the header. */
  outLength = 0
  /** Bytes that the driver takes before the status. */
  inLength = 0

  readonly #header = new Uint8Array(VIRTIO_BLK_HEADER_SIZE)
  readonly #words = new Uint32Array(this.#header.buffer)

  /** `false` if the chain holds no header or no status. */
  parse(chain: DescriptorChain): boolean {
    if (chain.writableLength < 1 || !chain.read(0, this.#header)) return false
    this.type = this.#words[0]!
    this.offset = (this.#words[3]! * 2 ** 32 + this.#words[2]!) * SECTOR_SIZE
    this.outLength = chain.readableLength - VIRTIO_BLK_HEADER_SIZE
    this.inLength = chain.writableLength - 1
    return true
  }
}

/** What takes the segments of a request's data. */
export interface SegmentSink {
  segment(address: number, length: number): void
}

/** Whether a request's data has no more segments, and none longer, than the driver was told. */
export function dataSegmentsFit(
  chain: DescriptorChain,
  into: boolean,
  segmentsMax: number,
  sizeMax: number,
): boolean {
  if (everySegmentFits(chain, segmentsMax, sizeMax)) return true
  let count = 0
  let longest = 0
  forEachDataSegment(chain, into, {
    segment(_address, length) {
      count++
      longest = Math.max(longest, length)
    },
  })
  return count <= segmentsMax && longest <= sizeMax
}

/** Whether that holds for the whole chain, header and status included: the usual case. */
function everySegmentFits(chain: DescriptorChain, segmentsMax: number, sizeMax: number): boolean {
  if (chain.count > segmentsMax) return false
  for (let i = 0; i < chain.count; i++) if (chain.lengths[i]! > sizeMax) return false
  return true
}

/** Names the data of a request, without header and status, to `sink`. */
export function forEachDataSegment(chain: DescriptorChain, into: boolean, sink: SegmentSink): void {
  let skip = into ? 0 : VIRTIO_BLK_HEADER_SIZE
  let left = into ? chain.writableLength - 1 : chain.readableLength - VIRTIO_BLK_HEADER_SIZE
  const end = into ? chain.count : chain.readableCount
  for (let i = into ? chain.readableCount : 0; i < end && left > 0; i++) {
    const length = chain.lengths[i]!
    if (skip >= length) {
      skip -= length
      continue
    }
    const part = Math.min(length - skip, left)
    sink.segment(chain.addresses[i]! + skip, part)
    left -= part
    skip = 0
  }
}
