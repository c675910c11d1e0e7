import { alignUp } from '../../util/bits.js'
import { PCI_COMMAND, PCI_COMMAND_IO, PCI_COMMAND_MASTER, PCI_COMMAND_MEMORY } from './abi.js'
import type { Bar } from './address-window.js'
import type { PciBus } from './pci-bus.js'
import type { AddressRange } from './window-decoder.js'

/** Where windows may be put. */
export interface AddressPools {
  /** Below 4 GiB. */
  readonly memory: AddressRange
  /** Ports. */
  readonly io: AddressRange
}

/**
 * Does what firmware does: gives every window of every device a place, the largest first, and has the devices decode
 * it. A window for which there is no room is left to the guest.
 */
export function assignAddresses(bus: PciBus, pools: AddressPools): void {
  const next = { mmio: pools.memory.start, pio: pools.io.start }
  const ends = { mmio: pools.memory.end, pio: pools.io.end }
  const bars: Bar[] = bus.devices.flatMap(([, device]) => [...device.bars])
  const unplaced = new Set<Bar>()
  for (const bar of bars.sort((a, b) => b.size - a.size)) {
    const base = alignUp(next[bar.space], bar.size)
    if (bar.size > ends[bar.space] - base) {
      unplaced.add(bar)
      continue
    }
    bar.address = base
    next[bar.space] = base + bar.size
  }
  for (const [, device] of bus.devices) {
    const placed = device.bars.filter((bar) => !unplaced.has(bar))
    if (device.bars.length === 0 || placed.length < device.bars.length) continue
    const spaces = placed.map(({ space }) =>
      space === 'pio' ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY,
    )
    const command = spaces.reduce<number>((bits, bit) => bits | bit, PCI_COMMAND_MASTER)
    device.writeConfig(PCI_COMMAND, 2, command)
  }
}
