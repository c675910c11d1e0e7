import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { ConfigMemory } from '../../../lib/devices/pci/config-memory.js'
import { PciDevice } from '../../../lib/devices/pci/pci-device.js'
import { PciRig } from '../../helpers/pci-rig.js'

const identity = { vendorId: 0x1234, deviceId: 0x11e8, classCode: 0xff0000 }

/** What a vCPU's thread reads of a double word on bus 0; `undefined` if it leaves that to the device. */
function seen({ words }: ConfigMemory, slot: number, offset: number): number | undefined {
  const register = (slot * 256 + offset) / 4
  const readable = (words[1 + 2048 + Math.floor(register / 32)]! >>> (register % 32)) & 1
  return readable ? words[1 + register]! : undefined
}

const offsets = Array.from({ length: 64 }, (_, register) => 4 * register)
const slots = Array.from({ length: 32 }, (_, slot) => slot)

it('has what the bus reads, whatever the guest writes and whatever comes and goes', () => {
  const write = fc.record({
    slot: fc.integer({ min: 0, max: 31 }),
    offset: fc.integer({ min: 0, max: 63 }).map((register) => register * 4),
    value: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  })
  const plug = fc.integer({ min: 0, max: 31 }).map((toggled) => ({ toggled }))
  const steps = fc.array(fc.oneof(write, plug), { maxLength: 40 })
  fc.assert(
    fc.property(steps, (taken) => {
      const { bus } = new PciRig()
      for (const step of taken) {
        if ('toggled' in step) {
          const device = bus.deviceIn(step.toggled)
          if (device) bus.unplug(device)
          else bus.plug(new PciDevice('device', identity), step.toggled)
        } else {
          bus.writeConfig({ bus: 0, fn: 0, ...step }, 4, step.value)
        }
      }
      for (const slot of slots) {
        for (const offset of offsets) {
          const there = bus.readConfig({ bus: 0, slot, fn: 0, offset }, 4)
          expect(seen(bus.configMemory, slot, offset)).toBe(there)
        }
      }
    }),
    { numRuns: 30 },
  )
})

it('leaves to a device what it answers itself', () => {
  class Counting extends PciDevice {
    override readConfig(): number {
      return 7
    }
  }
  class Partly extends Counting {
    override isPlainConfig(offset: number): boolean {
      return offset !== 0x40
    }
  }
  const { bus } = new PciRig()
  bus.plug(new Counting('counting', identity), 3)
  bus.plug(new Partly('partly', identity), 4)
  for (const offset of offsets) {
    expect(seen(bus.configMemory, 3, offset)).toBe(undefined)
    expect(seen(bus.configMemory, 4, offset) === undefined).toBe(offset === 0x40)
  }
})

it('takes the bytes back when a device is pulled out', () => {
  const { bus } = new PciRig()
  const device = new PciDevice('device', identity)
  bus.plug(device, 5)
  bus.unplug(device)
  expect(device.config.get(0, 4)).toBe(0x11e8_1234)
  device.config.define(0x40, 4, 7)
  expect(seen(bus.configMemory, 5, 0x40)).toBe(0xffff_ffff)
  expect(seen(bus.configMemory, 5, 0)).toBe(0xffff_ffff)
})
