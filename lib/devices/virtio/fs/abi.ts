/** Virtio 1.2, section 5.11: file system device. */
export const HIPRIO_QUEUE = 0
export const TAG_SIZE = 36
export const CONFIG_SIZE = 40
