import {
  VIRTIO_MMIO_GSIS,
  VIRTIO_MMIO_SLOTS,
  VIRTIO_MMIO_START,
  VIRTIO_MMIO_STRIDE,
} from '../arch/x86-64/layout.js'
import { invalidOption } from '../errors.js'

/** Where one virtio-mmio device is shown to the guest. */
export interface DeviceSlot {
  readonly address: number
  /** Bytes of the window. */
  readonly size: number
  readonly gsi: number
}

/** Register window of virtio-mmio: the registers and 256 bytes of configuration space. */
const WINDOW_SIZE = 0x200

/** Hands out the virtio-mmio windows and their interrupts, in order. */
export class DeviceSlots {
  readonly taken: DeviceSlot[] = []

  /** @throws VmmError `ERR_INVALID_OPTION` when all are taken */
  take(): DeviceSlot {
    const index = this.taken.length
    if (index >= VIRTIO_MMIO_SLOTS) {
      throw invalidOption('disks', index + 1, `at most ${VIRTIO_MMIO_SLOTS} virtio devices`)
    }
    const slot = {
      address: VIRTIO_MMIO_START + index * VIRTIO_MMIO_STRIDE,
      size: WINDOW_SIZE,
      gsi: VIRTIO_MMIO_GSIS[index]!,
    }
    this.taken.push(slot)
    return slot
  }
}
