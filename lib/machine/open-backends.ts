import { VirtioBlock } from '../devices/virtio/block/virtio-block.js'
import { VirtioNet } from '../devices/virtio/net/virtio-net.js'
import type { VirtioDevice } from '../devices/virtio/virtio-device.js'
import type { Cleanup } from '../util/cleanup.js'
import { blameOption, type MachineConfig } from './machine-config.js'

/**
 * Opens every disk and network backend and puts its device before it, in the order the guest sees them.
 * @throws what the backend's `open()` throws, with the option (`disks[0]`) named
 */
export async function openBackends(
  config: MachineConfig,
  cleanup: Cleanup,
): Promise<{ devices: VirtioDevice[] }> {
  const devices: VirtioDevice[] = []
  for (const [i, disk] of config.disks.entries()) {
    await opened(`disks[${i}]`, disk, cleanup)
    devices.push(new VirtioBlock(disk, { name: `block${i}` }))
  }
  for (const [i, net] of config.nets.entries()) {
    await opened(`nets[${i}]`, net, cleanup)
    devices.push(new VirtioNet(net, { name: `net${i}` }))
  }
  return { devices }
}

async function opened(
  option: string,
  backend: { open(): Promise<void>; close(): Promise<void> },
  cleanup: Cleanup,
): Promise<void> {
  try {
    await backend.open()
  } catch (error) {
    throw blameOption(option, error)
  }
  cleanup.own(backend)
}
