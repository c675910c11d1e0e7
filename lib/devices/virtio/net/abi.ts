/** Virtio 1.3, section 5.1: network device. */

// 5.1.3 Feature bits
export const VIRTIO_NET_F_CSUM = 0
export const VIRTIO_NET_F_GUEST_CSUM = 1
export const VIRTIO_NET_F_CTRL_GUEST_OFFLOADS = 2
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
export const VIRTIO_NET_F_CTRL_VQ = 17
export const VIRTIO_NET_F_CTRL_RX = 18
export const VIRTIO_NET_F_CTRL_VLAN = 19
export const VIRTIO_NET_F_CTRL_RX_EXTRA = 20
export const VIRTIO_NET_F_GUEST_ANNOUNCE = 21
export const VIRTIO_NET_F_MQ = 22
export const VIRTIO_NET_F_CTRL_MAC_ADDR = 23

// 5.1.4 Device configuration layout, offsets
export const CONFIG_MAC = 0
export const CONFIG_STATUS = 6
export const CONFIG_MAX_VIRTQUEUE_PAIRS = 8
export const CONFIG_MTU = 10
export const CONFIG_SIZE = 12

export const VIRTIO_NET_S_LINK_UP = 1
export const VIRTIO_NET_S_ANNOUNCE = 2

/** 5.1.6: bytes of the header before every frame, with VIRTIO_F_VERSION_1. */
export const VIRTIO_NET_HEADER_SIZE = 12
/** An Ethernet header, and the longest IP packet there is. */
export const FRAME_SIZE_MAX = 14 + 65535

// 5.1.6.5 Control virtqueue: what a command ends in
export const VIRTIO_NET_OK = 0
export const VIRTIO_NET_ERR = 1

// 5.1.6.5.1 and 5.1.6.5.2 Packet receive filtering
export const VIRTIO_NET_CTRL_RX = 0
export const VIRTIO_NET_CTRL_RX_PROMISC = 0
export const VIRTIO_NET_CTRL_RX_ALLMULTI = 1
export const VIRTIO_NET_CTRL_RX_ALLUNI = 2
export const VIRTIO_NET_CTRL_RX_NOMULTI = 3
export const VIRTIO_NET_CTRL_RX_NOUNI = 4
export const VIRTIO_NET_CTRL_RX_NOBCAST = 5
export const VIRTIO_NET_CTRL_MAC = 1
export const VIRTIO_NET_CTRL_MAC_TABLE_SET = 0
export const VIRTIO_NET_CTRL_MAC_ADDR_SET = 1
// 5.1.6.5.3 VLAN filtering
export const VIRTIO_NET_CTRL_VLAN = 2
export const VIRTIO_NET_CTRL_VLAN_ADD = 0
export const VIRTIO_NET_CTRL_VLAN_DEL = 1
// 5.1.6.5.4 Gratuitous packet sending
export const VIRTIO_NET_CTRL_ANNOUNCE = 3
export const VIRTIO_NET_CTRL_ANNOUNCE_ACK = 0
// 5.1.6.5.5 Device operation in multiqueue mode
export const VIRTIO_NET_CTRL_MQ = 4
export const VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET = 0
// 5.1.6.5.8 Offloads state configuration
export const VIRTIO_NET_CTRL_GUEST_OFFLOADS = 5
export const VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET = 0

// 5.1.2 Virtqueues
/** Of pair `pair`, from 0 on. */
export const receiveQueue = (pair: number): number => 2 * pair
export const transmitQueue = (pair: number): number => 2 * pair + 1
