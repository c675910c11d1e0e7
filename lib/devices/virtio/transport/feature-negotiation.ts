import {
  type FeatureBits,
  featureBits,
  hasFeature,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_VERSION_1,
} from '../abi.js'
import type { VirtioDevice } from '../virtio-device.js'
import type { DeviceControlOptions } from './device-control.js'

/** Ring features, offered for every device alike. */
const RING_FEATURES = featureBits(VIRTIO_F_VERSION_1, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX)

/** What a device and its transport offer together. */
export function offeredFeatures(device: VirtioDevice, options: DeviceControlOptions): FeatureBits {
  const ringFeatures =
    RING_FEATURES |
    (options.packed ? featureBits(VIRTIO_F_RING_PACKED) : 0n) |
    (options.inOrder && device.inOrder ? featureBits(VIRTIO_F_IN_ORDER) : 0n)
  return (
    device.features |
    (ringFeatures & (device.ringFeatures ?? ringFeatures)) |
    (device.resetQueue ? featureBits(VIRTIO_F_RING_RESET) : 0n)
  )
}

/** Features offered, and those that the driver has accepted (virtio 1.2, 2.2), by words of 32 bits as registers have them. */
export class FeatureNegotiation {
  readonly offered: FeatureBits
  #accepted: FeatureBits = 0n

  constructor(offered: FeatureBits) {
    this.offered = offered
  }

  /** Whatever the driver has written, until {@link acceptable} is found true. */
  get accepted(): FeatureBits {
    return this.#accepted
  }

  /** Whether the device can work with what was accepted, and so FEATURES_OK may be set. */
  get acceptable(): boolean {
    return (this.#accepted & ~this.offered) === 0n && hasFeature(this.#accepted, VIRTIO_F_VERSION_1)
  }

  /** The lower 32 bits of the features offered for `select` 0, the upper ones for 1; 0 beyond. */
  offeredWord(select: number): number {
    return wordOf(this.offered, select)
  }

  /** The same of those accepted. */
  acceptedWord(select: number): number {
    return wordOf(this.#accepted, select)
  }

  /** Such a word as the driver writes it; ignored for a selector beyond 1. */
  accept(select: number, word: number): void {
    if (select > 1) return
    const shift = BigInt(32 * select)
    this.#accepted = (this.#accepted & ~(0xffff_ffffn << shift)) | (BigInt(word >>> 0) << shift)
  }

  reset(): void {
    this.#accepted = 0n
  }
}

function wordOf(features: FeatureBits, select: number): number {
  return select > 1 ? 0 : Number(BigInt.asUintN(32, features >> BigInt(32 * select)))
}
