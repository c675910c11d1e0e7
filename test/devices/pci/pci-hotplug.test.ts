import { expect, it } from 'vitest'
import { PCI_HOTPLUG_PORTS, PciHotplug } from '../../../lib/devices/pci/pci-hotplug.js'

function rig() {
  const events: string[] = []
  const hotplug = new PciHotplug({
    onEvent: () => events.push('event'),
    onEject: (slot) => events.push(`eject ${slot}`),
  })
  return { hotplug, events }
}

it('shows what has come and what is to go, once', () => {
  const { hotplug, events } = rig()
  hotplug.announce(1)
  hotplug.announce(31)
  hotplug.requestEject(2)
  expect(events).toEqual(['event', 'event', 'event'])
  expect([hotplug.read(0, 4), hotplug.read(0, 4)]).toEqual([0x8000_0002, 0])
  expect([hotplug.read(4, 4), hotplug.read(4, 4)]).toEqual([4, 0])
})

it('tells of every slot that the guest ejects', () => {
  const { hotplug, events } = rig()
  hotplug.write(8, 4, 0x8000_0021)
  expect(events).toEqual(['eject 0', 'eject 5', 'eject 31'])
})

it('takes double words only, and forgets at a reset', () => {
  const { hotplug, events } = rig()
  hotplug.announce(0)
  for (let offset = 0; offset < PCI_HOTPLUG_PORTS; offset++) {
    for (const width of [1, 2, 4] as const) {
      if (width === 4 && offset % 4 === 0) continue
      hotplug.write(offset, width, 0xffff_ffff)
      hotplug.read(offset, width)
    }
  }
  expect(events).toEqual(['event'])
  hotplug.write(0, 4, 0xffff_ffff)
  hotplug.write(4, 4, 0xffff_ffff)
  expect([hotplug.read(0, 4), hotplug.read(4, 4)]).toEqual([1, 0])
  hotplug.requestEject(3)
  hotplug.reset()
  expect([hotplug.read(0, 4), hotplug.read(4, 4)]).toEqual([0, 0])
})
