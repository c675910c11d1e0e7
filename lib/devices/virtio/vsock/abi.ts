/** Virtio 1.2, section 5.10: socket device. */

// 5.10.6 Device operation: struct virtio_vsock_hdr, its operations and types
export const HEADER_SIZE = 44
export const VIRTIO_VSOCK_OP_REQUEST = 1
export const VIRTIO_VSOCK_OP_RESPONSE = 2
export const VIRTIO_VSOCK_OP_RST = 3
export const VIRTIO_VSOCK_OP_SHUTDOWN = 4
export const VIRTIO_VSOCK_OP_RW = 5
export const VIRTIO_VSOCK_OP_CREDIT_UPDATE = 6
export const VIRTIO_VSOCK_OP_CREDIT_REQUEST = 7

export const VIRTIO_VSOCK_TYPE_STREAM = 1

export const VIRTIO_VSOCK_SHUTDOWN_RCV = 1
export const VIRTIO_VSOCK_SHUTDOWN_SEND = 2

/** 5.10.4: the host's context ID. */
export const HOST_CID = 2

// 5.10.2 Virtqueues
export const RECEIVE_QUEUE = 0
export const TRANSMIT_QUEUE = 1
export const EVENT_QUEUE = 2
