import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as pci from '../../../lib/devices/pci/abi.js'
import { assignAddresses } from '../../../lib/devices/pci/assign-addresses.js'
import { PCIEXBAR } from '../../../lib/devices/pci/host-bridge.js'
import { IsaBridge } from '../../../lib/devices/pci/isa-bridge.js'
import { PciDevice } from '../../../lib/devices/pci/pci-device.js'
import { counter, identity, LOW_RAM_END, PciRig, windowed } from '../../helpers/pci-rig.js'

const ECAM = 0xb000_0000
const BAR0 = pci.PCI_BASE_ADDRESS_0
const MEMORY_ON = pci.PCI_COMMAND_MEMORY
const width = fc.constantFrom(1, 2, 4) as fc.Arbitrary<1 | 2 | 4>

describe('configuration by ports', () => {
  it('reads what a device is, and all ones where there is none', () => {
    const rig = new PciRig()
    rig.bus.plug(windowed('a'), 3)
    expect(rig.read(3, 0)).toBe(0x5678_1234)
    expect(rig.read(3, 2, 2)).toBe(0x5678)
    expect(rig.read(3, 1, 1)).toBe(0x12)
    expect(rig.read(0, 0)).toBe(0x29c0_8086)
    expect(rig.read(4, 0)).toBe(0xffff_ffff)
    expect(rig.read(4, 0, 1)).toBe(0xff)
  })

  it.each([
    ['without the enable bit', 0x0000_1800],
    ['of another bus', 0x8001_1800],
    ['of another function', 0x8000_1f00],
  ])('reaches nothing %s', (_, address) => {
    const rig = new PciRig()
    rig.bus.plug(windowed('a'), 3)
    rig.pio.write(0xcf8, 4, address)
    expect(rig.pio.read(0xcfc, 4)).toBe(0xffff_ffff)
    rig.pio.write(0xcfc, 4, 0)
  })

  it('keeps the address but for reserved bits, and takes it as a double word only', () => {
    const rig = new PciRig()
    rig.pio.write(0xcf8, 4, 0xffff_ffff)
    expect(rig.pio.read(0xcf8, 4)).toBe(0x80ff_fffc)
    rig.pio.write(0xcf8, 1, 0)
    rig.pio.write(0xcfa, 2, 0)
    expect(rig.pio.read(0xcf8, 4)).toBe(0x80ff_fffc)
    expect(rig.pio.read(0xcf8, 1)).toBe(0xff)
    expect(rig.pio.read(0xcfa, 2)).toBe(0xffff)
  })

  it('reaches no second double word', () => {
    const rig = new PciRig()
    rig.select(0, 0)
    expect(rig.pio.read(0xcfe, 2)).toBe(0x29c0)
    expect(rig.pio.read(0xcff, 2)).toBe(0xffff)
    expect(rig.pio.read(0xcfe, 4)).toBe(0xffff_ffff)
  })
})

describe('configuration by memory', () => {
  const rigWithEcam = () => {
    const rig = new PciRig()
    rig.bus.plug(windowed('a'), 3)
    rig.write(0, PCIEXBAR, 4, ECAM | 1)
    return rig
  }

  it('is where PCIEXBAR says, and nowhere before that', () => {
    const rig = rigWithEcam()
    expect(rig.mmio.read(ECAM + (3 << 15), 4)).toBe(0x5678_1234)
    expect(rig.mmio.read(ECAM + (3 << 15) + 2, 2)).toBe(0x5678)
    rig.write(0, PCIEXBAR, 4, 0xe000_0001)
    expect(rig.mmio.find(ECAM)).toBeUndefined()
    expect(rig.mmio.read(0xe000_0000, 4)).toBe(0x29c0_8086)
    rig.write(0, PCIEXBAR, 4, 0xe000_0000)
    expect(rig.mmio.find(0xe000_0000)).toBeUndefined()
  })

  it.each([
    [0, 0x1000_0000],
    [1, 0x800_0000],
    [2, 0x400_0000],
    [3, undefined],
  ])('has the size that PCIEXBAR says: %i', (length, size) => {
    const rig = new PciRig()
    rig.write(0, PCIEXBAR, 4, ECAM | (length << 1) | 1)
    const found = rig.mmio.find(ECAM)
    expect(found && found.end - found.base).toBe(size)
  })

  it('shows nothing beyond the 256 bytes of a conventional device', () => {
    const rig = rigWithEcam()
    expect(rig.mmio.read(ECAM + (3 << 15) + 0x100, 4)).toBe(0xffff_ffff)
    expect(rig.mmio.read(ECAM + (3 << 15) + 0xfff, 4)).toBe(0xffff_ffff)
  })

  it('gives way to RAM', () => {
    const rig = new PciRig()
    rig.write(0, PCIEXBAR, 4, 1)
    expect([...rig.mmio.ranges]).toEqual([])
  })

  it('reads the same as by ports', () => {
    const rig = rigWithEcam()
    fc.assert(
      fc.property(fc.nat(4), fc.nat(0xff), width, (slot, offset, bytes) => {
        const byMemory = rig.mmio.read(ECAM + (slot << 15) + offset, bytes)
        expect(byMemory).toBe(rig.read(slot, offset, bytes))
      }),
    )
  })
})

describe('a base address register', () => {
  it('tells its size by the bits that stay 0', () => {
    const rig = new PciRig()
    const device = new PciDevice('a', identity)
    device.addBar(0, { kind: 'memory32', size: 0x8000, device: counter('m') })
    device.addBar(1, { kind: 'io', size: 32, device: counter('io') })
    device.addBar(2, {
      kind: 'memory64',
      size: 2 ** 33,
      prefetchable: true,
      device: counter('big'),
    })
    rig.bus.plug(device, 3)
    for (let i = 0; i < 6; i++) rig.write(3, BAR0 + 4 * i, 4, 0xffff_ffff)
    const bars = Array.from({ length: 6 }, (_, i) => rig.read(3, BAR0 + 4 * i))
    expect(bars).toEqual([0xffff_8000, 0xffff_ffe1, 0x0000_000c, 0xffff_fffe, 0, 0])
  })

  it('places its window once memory is enabled, and takes it away again', () => {
    const rig = new PciRig()
    const moves: (number | undefined)[] = []
    const device = new PciDevice('a', identity)
    const moved = (base: number | undefined) => moves.push(base)
    device.addBar(0, { kind: 'memory32', size: 0x1000, device: counter('a'), moved })
    rig.bus.plug(device, 3)
    rig.write(3, BAR0, 4, 0xc000_0000)
    expect(rig.mmio.find(0xc000_0000)).toBeUndefined()
    rig.write(3, pci.PCI_COMMAND, 2, MEMORY_ON)
    expect(rig.mmio.read(0xc000_0ffc, 4)).toBe(0xab)
    rig.write(3, BAR0, 4, 0xc000_2fff)
    expect(rig.mmio.find(0xc000_0000)).toBeUndefined()
    expect(rig.mmio.read(0xc000_2000, 1)).toBe(0xab)
    rig.write(3, pci.PCI_COMMAND, 1, 0)
    expect(rig.mmio.find(0xc000_2000)).toBeUndefined()
    expect(moves).toEqual([0xc000_0000, undefined, 0xc000_2000, undefined])
  })

  it.each([
    ['address 0', 0],
    ['RAM', LOW_RAM_END - 0x1000],
    ['the interrupt controllers', 0xfec0_0000],
    ['the end of 32 bits', 0xffff_f000],
  ])('is not decoded at %s', (_, address) => {
    const rig = new PciRig()
    rig.bus.plug(windowed('a'), 3)
    rig.write(3, BAR0, 4, address)
    rig.write(3, pci.PCI_COMMAND, 2, MEMORY_ON)
    expect([...rig.mmio.ranges]).toEqual([])
    expect(rig.read(3, BAR0)).toBe(address)
  })

  it.each([2 ** 52, 2 ** 53, 2 ** 64 - 0x1000])('of 64 bits is not decoded at %i', (address) => {
    const rig = new PciRig()
    const device = new PciDevice('a', identity)
    device.addBar(0, { kind: 'memory64', size: 0x1000, device: counter('a') })
    rig.bus.plug(device, 3)
    rig.write(3, pci.PCI_COMMAND, 2, MEMORY_ON)
    rig.write(3, BAR0 + 4, 4, Number((BigInt(address) >> 32n) & 0xffff_ffffn))
    rig.write(3, BAR0, 4, Number(BigInt(address) & 0xffff_ffffn))
    expect([...rig.mmio.ranges]).toEqual([])
    rig.write(3, BAR0 + 4, 4, 0x10)
    rig.write(3, BAR0, 4, 0x2000)
    expect(rig.mmio.ranges.map(({ base }) => base)).toEqual([0x10_0000_2000])
  })

  it('waits for a place that another has, and comes in when that goes', () => {
    const rig = new PciRig()
    rig.bus.plug(windowed('first'), 3)
    rig.bus.plug(windowed('second', 0x4000), 4)
    for (const slot of [3, 4]) {
      rig.write(slot, BAR0, 4, 0xc000_0000)
      rig.write(slot, pci.PCI_COMMAND, 2, MEMORY_ON)
    }
    const there = () => rig.mmio.ranges.map(({ device }) => device.name)
    expect(there()).toEqual(['first'])
    rig.write(3, BAR0, 4, 0xd000_0000)
    expect(there()).toEqual(['second', 'first'])
    rig.write(3, BAR0, 4, 0xc000_1000)
    expect(there()).toEqual(['second'])
    rig.write(4, pci.PCI_COMMAND, 2, 0)
    expect(there()).toEqual(['first'])
  })

  it('swaps two windows', () => {
    const rig = new PciRig()
    rig.bus.plug(windowed('a'), 3)
    rig.bus.plug(windowed('b'), 4)
    assignAddresses(rig.bus, {
      memory: { start: 0xc000_0000, end: 0xd000_0000 },
      io: { start: 0x1000, end: 0x2000 },
    })
    const [a, b] = [rig.read(3, BAR0), rig.read(4, BAR0)]
    rig.write(3, BAR0, 4, b)
    rig.write(4, BAR0, 4, a)
    expect(rig.mmio.find(b)?.device.name).toBe('a')
    expect(rig.mmio.find(a)?.device.name).toBe('b')
  })

  it('takes no size and no index that cannot be', () => {
    const device = new PciDevice('a', identity)
    const bar = (index: number, kind: 'memory32' | 'memory64' | 'io', size: number) => () =>
      device.addBar(index, { kind, size, device: counter('a') })
    bar(4, 'memory64', 4096)()
    const refused = expect.objectContaining({ code: 'ERR_INVALID_OPTION' })
    expect(bar(5, 'memory32', 4096)).toThrow(refused)
    expect(bar(3, 'memory64', 4096)).toThrow(refused)
    expect(bar(6, 'memory32', 4096)).toThrow(refused)
    expect(bar(0, 'memory32', 4095)).toThrow(refused)
    expect(bar(0, 'memory32', 8)).toThrow(refused)
    expect(bar(0, 'memory32', 2 ** 32)).toThrow(refused)
    expect(bar(0, 'io', 512)).toThrow(refused)
  })
})

describe('slots', () => {
  it('are given out in order until there is none', () => {
    const rig = new PciRig([1, 2])
    expect(rig.bus.plug(windowed('a'))).toBe(1)
    expect(rig.bus.plug(windowed('b'))).toBe(2)
    expect(() => rig.bus.plug(windowed('c'))).toThrow(
      expect.objectContaining({ code: 'ERR_PCI_SLOTS' }),
    )
    expect(rig.bus.plug(new IsaBridge(), 31)).toBe(31)
    expect(() => rig.bus.plug(windowed('d'), 31)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION', option: 'slot' }),
    )
  })

  it('are free again, and their addresses, once a device is pulled out', () => {
    const rig = new PciRig()
    const device = windowed('a')
    const slot = rig.bus.plug(device)
    rig.write(slot, BAR0, 4, 0xc000_0000)
    rig.write(slot, pci.PCI_COMMAND, 2, MEMORY_ON)
    device.setIntx(true)
    expect(rig.lines[slot % 4]!.level).toBe(true)
    rig.bus.unplug(device)
    expect(rig.read(slot, 0)).toBe(0xffff_ffff)
    expect(rig.mmio.find(0xc000_0000)).toBeUndefined()
    expect(rig.lines[slot % 4]!.level).toBe(false)
    expect(rig.bus.plug(windowed('b'))).toBe(slot)
  })

  it('share interrupt lines, which are asserted while one of theirs is', () => {
    const rig = new PciRig()
    const [a, b] = [windowed('a'), windowed('b')]
    rig.bus.plug(a, 1)
    rig.bus.plug(b, 5)
    const line = rig.lines[1]!
    a.setIntx(true)
    b.setIntx(true)
    a.setIntx(false)
    expect(line.level).toBe(true)
    rig.write(5, pci.PCI_COMMAND, 2, pci.PCI_COMMAND_INTX_DISABLE)
    expect(line.level).toBe(false)
    expect(rig.read(5, pci.PCI_STATUS, 2) & pci.PCI_STATUS_INTERRUPT).toBeTruthy()
    rig.write(5, pci.PCI_COMMAND, 2, 0)
    expect(line.level).toBe(true)
    b.setIntx(false)
    expect(line.level).toBe(false)
  })
})

it('capabilities are a list that ends, and a full space takes no more', () => {
  const rig = new PciRig()
  const device = windowed('a')
  device.addCapability(9, new Uint8Array([3]))
  device.addCapability(9, new Uint8Array(20), new Uint8Array(20).fill(0xff))
  expect(() => device.addCapability(9, new Uint8Array(180))).toThrow(
    expect.objectContaining({ code: 'ERR_INVALID_OPTION' }),
  )
  rig.bus.plug(device, 3)
  const offsets: number[] = []
  for (let at = rig.read(3, pci.PCI_CAPABILITY_LIST, 1); at; at = rig.read(3, at + 1, 1)) {
    offsets.push(at)
  }
  expect(offsets).toEqual([0x40, 0x44])
  rig.write(3, 0x44, 4, 0xffff_ffff)
  expect(rig.read(3, 0x44)).toBe(0xffff_0009)
  expect(rig.read(3, pci.PCI_STATUS, 2)).toBe(pci.PCI_STATUS_CAP_LIST)
})

it('whatever is written, identities stay and windows keep to their places', () => {
  const anyWrite = fc.tuple(fc.nat(5), fc.nat(0xff), width, fc.nat(0xffff_ffff))
  fc.assert(
    fc.property(fc.array(anyWrite, { maxLength: 60 }), (writes) => {
      const rig = new PciRig()
      for (const slot of [1, 2, 3]) rig.bus.plug(windowed(`d${slot}`, 0x1000 << slot), slot)
      for (const [slot, offset, bytes, value] of writes) rig.write(slot, offset, bytes, value)
      for (const slot of [1, 2, 3]) {
        expect(rig.read(slot, 0)).toBe(0x5678_1234)
        expect(rig.read(slot, pci.PCI_CLASS_REVISION) >>> 8).toBe(0xff0000)
      }
      for (const { base, end } of rig.mmio.ranges) {
        expect(base >= LOW_RAM_END && (end <= 0xfec0_0000 || base >= 2 ** 32)).toBe(true)
      }
    }),
  )
})

describe('what firmware does', () => {
  it('gives every window a place of its own, aligned to its size, and has it decoded', () => {
    const rig = new PciRig()
    for (const [slot, size] of [0x1000, 0x10_0000, 0x1000, 0x8000].entries()) {
      rig.bus.plug(windowed(`d${slot}`, size), slot + 1)
    }
    const ports = new PciDevice('ports', identity)
    ports.addBar(0, { kind: 'io', size: 32, device: counter('io', 0x77) })
    ports.addBar(1, { kind: 'memory64', size: 0x1000, device: counter('m64') })
    rig.bus.plug(ports, 5)
    assignAddresses(rig.bus, {
      memory: { start: 0xc000_0000, end: 0xd000_0000 },
      io: { start: 0x1000, end: 0x2000 },
    })
    expect(rig.mmio.ranges).toHaveLength(5)
    expect(rig.mmio.ranges.every(({ base, end }) => base % (end - base) === 0)).toBe(true)
    expect(rig.pio.read(0x1000, 1)).toBe(0x77)
    expect(rig.read(5, pci.PCI_COMMAND, 2)).toBe(7)
    expect(rig.read(0, pci.PCI_COMMAND, 2)).toBe(0)
  })

  it('leaves a device alone for which there is no room', () => {
    const rig = new PciRig()
    rig.bus.plug(windowed('large', 0x2_0000), 1)
    rig.bus.plug(windowed('small', 0x1000), 2)
    assignAddresses(rig.bus, {
      memory: { start: 0xc000_0000, end: 0xc001_0000 },
      io: { start: 0x1000, end: 0x2000 },
    })
    expect(rig.mmio.ranges.map(({ device }) => device.name)).toEqual(['small'])
    expect(rig.read(1, pci.PCI_COMMAND, 2)).toBe(0)
  })
})
