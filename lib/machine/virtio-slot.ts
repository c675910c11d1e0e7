import {
  VIRTIO_MMIO_QUEUE_NOTIFY,
  VirtioMmioTransport,
} from '../devices/virtio/transport/virtio-mmio.js'
import type { VirtioDevice } from '../devices/virtio/virtio-device.js'
import type { Cleanup } from '../util/cleanup.js'
import type { DeviceSlot } from './device-slots.js'
import type { MachineConfig } from './machine-config.js'
import type { Platform } from './platform.js'
import { KickEvent } from './queue-kick.js'
import { transportOptions } from './transport-options.js'

/**
 * Plugs a virtio device into a slot: its registers on the MMIO bus, its interrupt, and an ioeventfd for each queue, so
 * that a kick costs the guest no exit to this process.
 *
 * The interrupt is not by irqfd: to a pin of the IOAPIC KVM does that in a work item, which has to wait for a processor.
 */
export function plugVirtioDevice(
  platform: Platform,
  slot: DeviceSlot,
  device: VirtioDevice,
  config: MachineConfig,
  cleanup: Cleanup,
): VirtioMmioTransport {
  const { vm, mmio, irqchip } = platform
  const irq = irqchip.line(slot.gsi)
  const transport = cleanup.own(
    new VirtioMmioTransport(device, { ...transportOptions(platform, device, config), irq }),
  )
  mmio.attach(slot.address, slot.size, transport)
  platform.resettable.push(transport)
  const kicks = Array.from({ length: transport.queueCount }, (_, queue) => {
    const kick = cleanup.own(new KickEvent(transport, queue))
    vm.ioeventfd(kick.event, {
      space: 'mmio',
      address: slot.address + VIRTIO_MMIO_QUEUE_NOTIFY,
      length: 4,
      datamatch: BigInt(queue),
    })
    return kick
  })
  transport.connectKicks(kicks)
  return transport
}
