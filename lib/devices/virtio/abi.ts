/** Constants of the virtio specification 1.2, with the names of its C listings and of Linux's headers. */

// 2.1 Device status field
export const VIRTIO_CONFIG_S_ACKNOWLEDGE = 0x01
export const VIRTIO_CONFIG_S_DRIVER = 0x02
export const VIRTIO_CONFIG_S_DRIVER_OK = 0x04
export const VIRTIO_CONFIG_S_FEATURES_OK = 0x08
export const VIRTIO_CONFIG_S_NEEDS_RESET = 0x40
export const VIRTIO_CONFIG_S_FAILED = 0x80

// 6 Reserved feature bits
export const VIRTIO_F_INDIRECT_DESC = 28
export const VIRTIO_F_EVENT_IDX = 29
export const VIRTIO_F_VERSION_1 = 32
export const VIRTIO_F_RING_PACKED = 34
export const VIRTIO_F_IN_ORDER = 35
export const VIRTIO_F_RING_RESET = 40

// 5 Device types
export const VIRTIO_ID_NET = 1
export const VIRTIO_ID_BLOCK = 2
export const VIRTIO_ID_CONSOLE = 3
export const VIRTIO_ID_RNG = 4
export const VIRTIO_ID_BALLOON = 5
export const VIRTIO_ID_VSOCK = 19
export const VIRTIO_ID_MEM = 24
export const VIRTIO_ID_FS = 26

// 2.7.5 The virtqueue descriptor table
export const VIRTQ_DESC_F_NEXT = 1
export const VIRTQ_DESC_F_WRITE = 2
export const VIRTQ_DESC_F_INDIRECT = 4
// 2.7.6 and 2.7.8 The available and the used ring
export const VIRTQ_AVAIL_F_NO_INTERRUPT = 1
export const VIRTQ_USED_F_NO_NOTIFY = 1

/** A set of feature bits: bit n of the number stands for feature n. */
export type FeatureBits = bigint

/** The set that holds the given features. */
export function featureBits(...bits: readonly number[]): FeatureBits {
  return bits.reduce((set, bit) => set | (1n << BigInt(bit)), 0n)
}

/** Whether a feature, by its bit, is among those. */
export function hasFeature(set: FeatureBits, bit: number): boolean {
  return ((set >> BigInt(bit)) & 1n) === 1n
}
