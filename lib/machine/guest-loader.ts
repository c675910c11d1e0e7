import type { EntryState } from '../arch/x86-64/entry-state.js'
import type { Cleanup } from '../util/cleanup.js'
import { attachFirmware } from './firmware.js'
import { placedByFirmware } from './firmware-pci.js'
import { acpiOptions, type GuestImages, loadGuest } from './load-guest.js'
import type { MachineConfig } from './machine-config.js'
import type { Platform } from './platform.js'
import type { VirtioDevices } from './virtio-devices.js'

/**
 * Loads a machine's guest into its memory: at first, and after each reset.
 * @returns where the first vCPU starts, unless that is where processors start after a reset
 */
export type GuestLoader = (images: GuestImages) => EntryState | undefined

/**
 * With the machine's firmware, if it has one, in its place.
 * @throws VmmError `ERR_FIRMWARE` for files that cannot be one; KvmError
 */
export function createGuestLoader(
  config: MachineConfig,
  platform: Platform,
  virtio: VirtioDevices,
  cleanup: Cleanup,
): GuestLoader {
  const { firmware: rom } = config
  const { pci } = virtio
  // With firmware the tables tell where that has put things, once it has.
  const acpi = () =>
    acpiOptions(config, { ...virtio.places, pci: pci && placedByFirmware(pci, platform) })
  const firmware =
    rom && attachFirmware(platform, { ...config, firmware: rom }, { pci, acpi }, cleanup)
  return ({ kernel, ...others }) => {
    firmware?.load(platform.memory)
    if (!kernel) return undefined
    pci?.assignAddresses()
    return loadGuest(config, { kernel, ...others }, platform.memory, virtio.places)
  }
}
