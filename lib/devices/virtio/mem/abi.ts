/** Virtio 1.2, section 5.15: memory device. */

// 5.15.3 Feature bits
export const VIRTIO_MEM_F_ACPI_PXM = 0
export const VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE = 1

// 5.15.4 Device configuration layout, offsets
export const CONFIG_BLOCK_SIZE = 0
export const CONFIG_NODE_ID = 8
export const CONFIG_ADDR = 16
export const CONFIG_REGION_SIZE = 24
export const CONFIG_USABLE_REGION_SIZE = 32
export const CONFIG_PLUGGED_SIZE = 40
export const CONFIG_REQUESTED_SIZE = 48
export const CONFIG_SIZE = 56

// 5.15.6 Device operation
export const VIRTIO_MEM_REQ_PLUG = 0
export const VIRTIO_MEM_REQ_UNPLUG = 1
export const VIRTIO_MEM_REQ_UNPLUG_ALL = 2
export const VIRTIO_MEM_REQ_STATE = 3
/** Of struct virtio_mem_req: type, address and number of blocks. */
export const REQUEST_ADDR = 8
export const REQUEST_NB_BLOCKS = 16
export const REQUEST_SIZE = 24

export const VIRTIO_MEM_RESP_ACK = 0
export const VIRTIO_MEM_RESP_NACK = 1
export const VIRTIO_MEM_RESP_BUSY = 2
export const VIRTIO_MEM_RESP_ERROR = 3
/** Of struct virtio_mem_resp. */
export const RESPONSE_STATE = 8
export const RESPONSE_SIZE = 10

export const VIRTIO_MEM_STATE_PLUGGED = 0
export const VIRTIO_MEM_STATE_UNPLUGGED = 1
export const VIRTIO_MEM_STATE_MIXED = 2
