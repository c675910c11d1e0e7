import type { Bus, BusRange } from '../bus/bus.js'
import { KVM_EXIT_IO } from '../kvm/abi/exits.js'
import type { RunPage } from '../kvm/run-page.js'
import { hex } from '../util/bits.js'

/** The access that a KVM_EXIT_IO or KVM_EXIT_MMIO is about: `'uart0: read of 1 byte at offset 0x5'`. */
export function describeExit(page: RunPage, pio: Bus, mmio: Bus): string {
  const isIo = page.exitReason === KVM_EXIT_IO
  const address = isIo ? page.ioPort : page.mmioAddress
  const range = (isIo ? pio : mmio).find(address)
  const isRead = isIo ? page.ioIsIn : !page.mmioIsWrite
  const width = isIo ? page.ioSize : page.mmioLength
  return describeAccess(range, isRead ? 'read' : 'write', width, address - (range?.base ?? 0))
}

/** @param range absent if its device has left the bus */
export function describeAccess(
  range: BusRange | undefined,
  what: 'read' | 'write',
  width: number,
  offset: number,
): string {
  const bytes = width === 1 ? '1 byte' : `${width} bytes`
  return `${range?.device.name ?? 'a device that is gone'}: ${what} of ${bytes} at offset ${hex(offset)}`
}
