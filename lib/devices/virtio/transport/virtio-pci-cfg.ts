import type { BusDevice } from '../../../bus/bus-device.js'
import { le32 } from '../../../util/bits.js'
import type { ConfigSpace } from '../../pci/config-space.js'
import { VIRTIO_PCI_CAP_PCI_CFG, VIRTIO_PCI_WINDOW } from './virtio-pci-abi.js'
import { vendorCapability } from './virtio-pci-capabilities.js'

/** `struct virtio_pci_cfg_cap`, from its beginning. */
const CFG_BAR = 4
const CFG_OFFSET = 8
const CFG_LENGTH = 12
const CFG_DATA = 16

/** What is in the capability VIRTIO_PCI_CAP_PCI_CFG after its id and pointer, and which of it the driver may write. */
export function pciCfgCapability(): { readonly body: Uint8Array; readonly writable: Uint8Array } {
  const body = vendorCapability(VIRTIO_PCI_CAP_PCI_CFG, { offset: 0, length: 0 }, 4)
  const writable = body.map((_, i) => (i + 2 === CFG_BAR || i + 2 >= CFG_OFFSET ? 0xff : 0))
  return { body, writable }
}

/** Reaches a device's window by configuration space, for firmware that has no room for one: VIRTIO_PCI_CAP_PCI_CFG (4.1.4.9). */
export class PciCfgAccess {
  readonly #config: ConfigSpace
  readonly #at: number
  readonly #window: BusDevice

  /** @param at where {@link pciCfgCapability} is in the configuration space */
  constructor(config: ConfigSpace, at: number, window: BusDevice) {
    this.#config = config
    this.#at = at
    this.#window = window
  }

  /** The register whose reads and writes go to the window. */
  get dataOffset(): number {
    return this.#at + CFG_DATA
  }

  /** The driver is about to read configuration space: has what the window holds in the register, if it is that. */
  reading(offset: number, width: number): void {
    const access = this.#access(offset, width)
    if (access === undefined) return
    // 4.1.4.9.1: as wide as the length says, whichever part of the field is read.
    const value = this.#window.read(access.offset, access.length)
    this.#config.bytes.set(le32(value), this.dataOffset)
  }

  /** The driver has written configuration space. */
  written(offset: number, width: number): void {
    const access = this.#access(offset, width)
    if (access === undefined) return
    const { length } = access
    this.#window.write(access.offset, length, this.#config.get(this.dataOffset, length))
  }

  /** What an access to pci_cfg_data goes to; `undefined` for another register, or for what the driver may not ask. */
  #access(offset: number, width: number): { offset: number; length: 1 | 2 | 4 } | undefined {
    const start = this.dataOffset
    if (offset < start || offset + width > start + 4) return undefined
    const length = this.#config.get(this.#at + CFG_LENGTH, 4)
    const target = this.#config.get(this.#at + CFG_OFFSET, 4)
    if (this.#config.get(this.#at + CFG_BAR, 1) !== 0) return undefined
    if (length !== 1 && length !== 2 && length !== 4) return undefined
    if (target % length !== 0 || target > VIRTIO_PCI_WINDOW.size - length) return undefined
    return { offset: target, length }
  }
}
