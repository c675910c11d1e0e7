import {
  PCI_CLASS_COMMUNICATION_OTHER,
  PCI_CLASS_NETWORK_ETHERNET,
  PCI_CLASS_NETWORK_OTHER,
  PCI_CLASS_OTHERS,
  PCI_CLASS_STORAGE_SCSI,
} from '../../pci/abi.js'
import { VIRTIO_ID_BLOCK, VIRTIO_ID_CONSOLE, VIRTIO_ID_NET, VIRTIO_ID_VSOCK } from '../abi.js'

// Virtio 1.2, 4.1.2: PCI device discovery
export const VIRTIO_PCI_VENDOR_ID = 0x1af4
/** The device id is this and the virtio device id. */
export const VIRTIO_PCI_DEVICE_ID_BASE = 0x1040

// 4.1.4: types of the capabilities that say where the structures are
export const VIRTIO_PCI_CAP_COMMON_CFG = 1
export const VIRTIO_PCI_CAP_NOTIFY_CFG = 2
export const VIRTIO_PCI_CAP_ISR_CFG = 3
export const VIRTIO_PCI_CAP_DEVICE_CFG = 4
export const VIRTIO_PCI_CAP_PCI_CFG = 5

// 4.1.4.3: struct virtio_pci_common_cfg
export const VIRTIO_PCI_COMMON_DFSELECT = 0x00
export const VIRTIO_PCI_COMMON_DF = 0x04
export const VIRTIO_PCI_COMMON_GFSELECT = 0x08
export const VIRTIO_PCI_COMMON_GF = 0x0c
export const VIRTIO_PCI_COMMON_MSIX = 0x10
export const VIRTIO_PCI_COMMON_NUMQ = 0x12
export const VIRTIO_PCI_COMMON_STATUS = 0x14
export const VIRTIO_PCI_COMMON_CFGGENERATION = 0x15
export const VIRTIO_PCI_COMMON_Q_SELECT = 0x16
export const VIRTIO_PCI_COMMON_Q_SIZE = 0x18
export const VIRTIO_PCI_COMMON_Q_MSIX = 0x1a
export const VIRTIO_PCI_COMMON_Q_ENABLE = 0x1c
export const VIRTIO_PCI_COMMON_Q_NOFF = 0x1e
export const VIRTIO_PCI_COMMON_Q_DESCLO = 0x20
export const VIRTIO_PCI_COMMON_Q_DESCHI = 0x24
export const VIRTIO_PCI_COMMON_Q_AVAILLO = 0x28
export const VIRTIO_PCI_COMMON_Q_AVAILHI = 0x2c
export const VIRTIO_PCI_COMMON_Q_USEDLO = 0x30
export const VIRTIO_PCI_COMMON_Q_USEDHI = 0x34
export const VIRTIO_PCI_COMMON_Q_NDATA = 0x38
export const VIRTIO_PCI_COMMON_Q_RESET = 0x3a
export const VIRTIO_PCI_COMMON_SIZE = 0x3c

/** 4.1.4.3: no MSI-X vector. */
export const VIRTIO_MSI_NO_VECTOR = 0xffff

// 4.1.4.5: ISR status
export const VIRTIO_PCI_ISR_QUEUE = 1
export const VIRTIO_PCI_ISR_CONFIG = 2

const classes: ReadonlyMap<number, number> = new Map([
  [VIRTIO_ID_NET, PCI_CLASS_NETWORK_ETHERNET],
  [VIRTIO_ID_BLOCK, PCI_CLASS_STORAGE_SCSI],
  [VIRTIO_ID_CONSOLE, PCI_CLASS_COMMUNICATION_OTHER],
  [VIRTIO_ID_VSOCK, PCI_CLASS_NETWORK_OTHER],
])

/** The class code of a virtio device, by which those who know no virtio tell what it is. */
export function virtioClassCode(deviceId: number): number {
  return classes.get(deviceId) ?? PCI_CLASS_OTHERS
}

/** Where each structure lies in the window of base address register 0. One page each, as a hypervisor of a guest's may map them apart. */
export const VIRTIO_PCI_WINDOW = {
  common: { offset: 0x0000, length: VIRTIO_PCI_COMMON_SIZE },
  isr: { offset: 0x1000, length: 4 },
  device: { offset: 0x2000, length: 0x1000 },
  notify: { offset: 0x3000, length: 0x1000 },
  msixTable: { offset: 0x4000, length: 0x1000 },
  msixPba: { offset: 0x5000, length: 0x1000 },
  size: 0x8000,
} as const

/** Bytes between the notification addresses of two queues: so many that each may be written as 4 bytes. */
export const NOTIFY_OFF_MULTIPLIER = 4
/** How many queues there is room for, by the vectors in one page, of which configuration changes have one. */
export const VIRTIO_PCI_QUEUES_MAX = 0x1000 / 16 - 1
