import {
  VIRTIO_MMIO_QUEUE_NOTIFY,
  VirtioMmioTransport,
} from '../devices/virtio/transport/virtio-mmio.js'
import type { VirtioDevice } from '../devices/virtio/virtio-device.js'
import { IrqfdLine } from '../interrupt/irqfd.js'
import { EventFd } from '../kvm/event-fd.js'
import type { Cleanup } from '../util/cleanup.js'
import type { DeviceSlot } from './device-slots.js'
import type { MachineConfig } from './machine-config.js'
import type { Platform } from './platform.js'
import { transportOptions } from './transport-options.js'

/**
 * Plugs a virtio device into a slot: its registers on the MMIO bus, its interrupt by irqfd, and an ioeventfd for each
 * queue, so that a kick costs the guest no exit to this process.
 */
export function plugVirtioDevice(
  platform: Platform,
  slot: DeviceSlot,
  device: VirtioDevice,
  config: MachineConfig,
  cleanup: Cleanup,
): VirtioMmioTransport {
  const { vm, mmio } = platform
  const irq = cleanup.own(new IrqfdLine(vm, slot.gsi))
  const transport = cleanup.own(
    new VirtioMmioTransport(device, { ...transportOptions(platform, device, config), irq }),
  )
  mmio.attach(slot.address, slot.size, transport)
  platform.resettable.push(transport)
  for (let queue = 0; queue < transport.queueCount; queue++) {
    const kick = cleanup.own(new EventFd())
    vm.ioeventfd(kick, {
      space: 'mmio',
      address: slot.address + VIRTIO_MMIO_QUEUE_NOTIFY,
      length: 4,
      datamatch: BigInt(queue),
    })
    kick.watchFor(transport, notifier(queue))
  }
  return transport
}

/** Refers to no transport: a machine that nobody holds any more is collected, though its kicks are watched. */
function notifier(queue: number): (transport: VirtioMmioTransport) => void {
  return (transport) => transport.notify(queue)
}
