import { le32 } from '../../../util/bits.js'
import {
  NOTIFY_OFF_MULTIPLIER,
  VIRTIO_PCI_CAP_COMMON_CFG,
  VIRTIO_PCI_CAP_DEVICE_CFG,
  VIRTIO_PCI_CAP_ISR_CFG,
  VIRTIO_PCI_CAP_NOTIFY_CFG,
  VIRTIO_PCI_WINDOW,
} from './virtio-pci-abi.js'

/** The capabilities that say where the structures of a device lie, each after its id and pointer (4.1.4). */
export function structureCapabilities(queueCount: number): Uint8Array[] {
  const { common, isr, device, notify } = VIRTIO_PCI_WINDOW
  const notifyPlace = { ...notify, length: queueCount * NOTIFY_OFF_MULTIPLIER }
  const notifyCapability = vendorCapability(VIRTIO_PCI_CAP_NOTIFY_CFG, notifyPlace, 4)
  notifyCapability.set(le32(NOTIFY_OFF_MULTIPLIER), 14)
  return [
    vendorCapability(VIRTIO_PCI_CAP_COMMON_CFG, common),
    vendorCapability(VIRTIO_PCI_CAP_ISR_CFG, isr),
    vendorCapability(VIRTIO_PCI_CAP_DEVICE_CFG, device),
    notifyCapability,
  ]
}

/** `struct virtio_pci_cap` after its id and pointer, and `extra` bytes. */
export function vendorCapability(
  type: number,
  { offset, length }: { readonly offset: number; readonly length: number },
  extra = 0,
): Uint8Array {
  const body = new DataView(new ArrayBuffer(14 + extra))
  body.setUint8(0, 16 + extra)
  body.setUint8(1, type)
  body.setUint32(6, offset, true)
  body.setUint32(10, length, true)
  return new Uint8Array(body.buffer)
}
