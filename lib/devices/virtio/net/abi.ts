/** Virtio 1.2, section 5.1: network device. */

// 5.1.3 Feature bits
export const VIRTIO_NET_F_CSUM = 0
export const VIRTIO_NET_F_GUEST_CSUM = 1
export const VIRTIO_NET_F_MTU = 3
export const VIRTIO_NET_F_MAC = 5
export const VIRTIO_NET_F_GUEST_TSO4 = 7
export const VIRTIO_NET_F_GUEST_TSO6 = 8
export const VIRTIO_NET_F_GUEST_ECN = 9
export const VIRTIO_NET_F_GUEST_UFO = 10
export const VIRTIO_NET_F_HOST_TSO4 = 11
export const VIRTIO_NET_F_HOST_TSO6 = 12
export const VIRTIO_NET_F_HOST_ECN = 13
export const VIRTIO_NET_F_HOST_UFO = 14
export const VIRTIO_NET_F_MRG_RXBUF = 15
export const VIRTIO_NET_F_STATUS = 16

// 5.1.4 Device configuration layout, offsets
export const CONFIG_MAC = 0
export const CONFIG_STATUS = 6
export const CONFIG_MAX_VIRTQUEUE_PAIRS = 8
export const CONFIG_MTU = 10
export const CONFIG_SIZE = 12

export const VIRTIO_NET_S_LINK_UP = 1

/** 5.1.6: bytes of the header before every frame, with VIRTIO_F_VERSION_1. */
export const VIRTIO_NET_HEADER_SIZE = 12
/** An Ethernet header, and the longest IP packet there is. */
export const FRAME_SIZE_MAX = 14 + 65535

// 5.1.2 Virtqueues
export const RECEIVE_QUEUE = 0
export const TRANSMIT_QUEUE = 1
