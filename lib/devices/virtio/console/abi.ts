/** Virtio 1.2, section 5.3: console device. */

// 5.3.3 Feature bits
export const VIRTIO_CONSOLE_F_SIZE = 0
export const VIRTIO_CONSOLE_F_MULTIPORT = 1
export const VIRTIO_CONSOLE_F_EMERG_WRITE = 2

// 5.3.4 Device configuration layout, offsets
export const CONFIG_COLS = 0
export const CONFIG_ROWS = 2
export const CONFIG_MAX_NR_PORTS = 4
export const CONFIG_EMERG_WR = 8
export const CONFIG_SIZE = 12

// 5.3.6.2 Multiport device operation: struct virtio_console_control and its events
export const CONTROL_SIZE = 8
export const VIRTIO_CONSOLE_DEVICE_READY = 0
export const VIRTIO_CONSOLE_PORT_ADD = 1
export const VIRTIO_CONSOLE_PORT_REMOVE = 2
export const VIRTIO_CONSOLE_PORT_READY = 3
export const VIRTIO_CONSOLE_CONSOLE_PORT = 4
export const VIRTIO_CONSOLE_RESIZE = 5
export const VIRTIO_CONSOLE_PORT_OPEN = 6
export const VIRTIO_CONSOLE_PORT_NAME = 7

// 5.3.2 Virtqueues
export const CONTROL_RECEIVE_QUEUE = 2
export const CONTROL_TRANSMIT_QUEUE = 3

/** The queue on which the driver gets a port's data; the next one is the one on which it sends. */
export function receiveQueueOf(port: number): number {
  return port === 0 ? 0 : 2 + 2 * port
}

/** The port of a data queue; `undefined` for the control queues. */
export function portOfQueue(queue: number): number | undefined {
  if (queue < CONTROL_RECEIVE_QUEUE) return 0
  return queue <= CONTROL_TRANSMIT_QUEUE ? undefined : (queue - 2) >> 1
}
