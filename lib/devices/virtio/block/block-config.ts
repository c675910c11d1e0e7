import { CONFIG_CAPACITY, CONFIG_SEG_MAX, CONFIG_SIZE, SECTOR_SIZE } from './abi.js'

/** The configuration space (virtio 1.2, 5.2.4). Fields of features that are not offered stay 0. */
export function blockConfig(values: { capacity: number; segmentsMax: number }): Uint8Array {
  const bytes = new Uint8Array(CONFIG_SIZE)
  const view = new DataView(bytes.buffer)
  setCapacity(view, values.capacity)
  view.setUint32(CONFIG_SEG_MAX, values.segmentsMax, true)
  return bytes
}

/** @param capacity bytes */
export function setCapacity(view: DataView, capacity: number): void {
  view.setBigUint64(CONFIG_CAPACITY, BigInt(Math.floor(capacity / SECTOR_SIZE)), true)
}
