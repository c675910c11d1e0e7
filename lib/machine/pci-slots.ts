import { PCI_SLOTS } from '../devices/pci/abi.js'
import { ISA_BRIDGE_SLOT } from '../devices/pci/isa-bridge.js'

export const HOST_BRIDGE_SLOT = 0

/** Slots for devices that come and go: firmware looks for the bridges in the other two. */
export const DEVICE_SLOTS = Array.from({ length: PCI_SLOTS }, (_, slot) => slot).filter(
  (slot) => slot !== HOST_BRIDGE_SLOT && slot !== ISA_BRIDGE_SLOT,
)

/** How many devices a machine can have on PCI. */
export const PCI_DEVICES_MAX = DEVICE_SLOTS.length
