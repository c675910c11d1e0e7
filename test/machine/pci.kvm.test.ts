import { afterEach, describe, expect, it } from 'vitest'
import { PCI_HOTPLUG_PORT } from '../../lib/arch/x86-64/layout.js'
import { PCI_CLASS_OTHERS } from '../../lib/devices/pci/abi.js'
import { PciDevice } from '../../lib/devices/pci/pci-device.js'
import * as abi from '../../lib/devices/virtio/transport/virtio-pci-abi.js'
import {
  MemoryDisk,
  VirtualMachine,
  type VirtualMachineOptions,
  VirtualSwitch,
} from '../../lib/index.js'
import { le32 } from '../../lib/util/bits.js'
import { openFds } from '../helpers/process-state.js'
import { until } from '../helpers/virtio-driver.js'
import * as guest from './tiny-guest.js'

const WINDOW = 0xc000_0000
const ECAM = 0xb000_0000

const port = (number: number) => [0xba, ...le32(number)] // mov $number, %edx
const outl = (number: number, value: number) => [...port(number), 0xb8, ...le32(value), 0xef]
/** Says the four bytes that a port gives. */
const sayInl = (number: number) => [
  ...[...port(number), 0xed], // in %dx, %eax
  ...[0x89, 0xc3], // mov %eax, %ebx
  ...port(0x3f8),
  ...[0, 8, 16, 24].flatMap((shift) => [0x89, 0xd8, 0xc1, 0xe8, shift, 0xee]),
]
const select = (slot: number, offset: number) =>
  outl(0xcf8, (0x8000_0000 | (slot << 11) | offset) >>> 0)
const sayConfig = (slot: number, offset: number) => [...select(slot, offset), ...sayInl(0xcfc)]
const writeConfig = (slot: number, offset: number, value: number) => [
  ...select(slot, offset),
  ...outl(0xcfc, value),
]

let vm: VirtualMachine | undefined
afterEach(async () => {
  await vm?.close()
  vm = undefined
})

const create = async (options: Partial<VirtualMachineOptions>, ...code: number[][]) => {
  const kernel = guest.kernel(...code)
  vm = await VirtualMachine.create({ kernel, memory: '32M', transport: 'pci', ...options })
  return vm
}

/** What a guest says that powers off then, as double words. */
async function says(options: Partial<VirtualMachineOptions>, ...code: number[][]) {
  const machine = await create(options, ...code, guest.powerOff)
  await machine.start()
  const chunks: Buffer[] = []
  for await (const chunk of machine.console.output) chunks.push(chunk as Buffer)
  const bytes = Buffer.concat(chunks)
  return Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readUInt32LE(4 * i))
}

const disk = () => new MemoryDisk(2 ** 20)

describe('a guest', () => {
  it('finds its devices by ports and by memory, with addresses that work', async () => {
    const said = await says(
      { disks: [disk()], nets: [new VirtualSwitch().port()] },
      sayConfig(0, 0),
      sayConfig(1, 0),
      sayConfig(1, 0x10),
      sayConfig(2, 0),
      sayConfig(2, 0x10),
      sayConfig(3, 0),
      ...[0, 1, 2, 3].map((byte) => guest.say(ECAM + (2 << 15), byte)),
    )
    expect(said).toEqual([
      ...[0x29c0_8086, 0x1042_1af4, WINDOW, 0x1041_1af4, WINDOW + 0x8000, 0xffff_ffff],
      0x1041_1af4,
    ])
  })

  it('waits for nobody to read configuration space by ports', async () => {
    const inb = (number: number) => [...port(number), 0xec, ...port(0x3f8), 0xee]
    const said = await says(
      { disks: [disk()] },
      sayConfig(1, 0),
      sayConfig(1, 0x08),
      sayConfig(9, 0), // nobody
      [...outl(0xcf8, 0x8001_0000), ...sayInl(0xcfc)], // another bus
      [...outl(0xcf8, 0x8000_0900), ...sayInl(0xcfc)], // another function
      writeConfig(1, 0x3c, 0x0102_030b),
      sayConfig(1, 0x3c),
      [...select(1, 0), ...[0xcfc, 0xcfd, 0xcfe, 0xcff].flatMap(inb)],
    )
    const nothing = 0xffff_ffff
    const interrupt = 0x0000_010b // the line, and the pin, which is not the guest's to write
    expect(said).toEqual([
      ...[0x1042_1af4, 0x0100_0001, nothing, nothing, nothing, interrupt, 0x1042_1af4],
    ])
    const reads = vm!.stats().ports.filter(({ address, direction }) => {
      return address >= 0xcfc && address <= 0xcff && direction === 'read'
    })
    expect(reads.reduce((sum, { count }) => sum + count, 0)).toBe(10)
    expect(reads.map(({ synchronous }) => synchronous)).toEqual([0, 0, 0, 0])
  })

  it('has nothing selected after a reset', async () => {
    const machine = await create({}, sayInl(0xcfc), select(0, 0), guest.say(ECAM, 0), guest.spin)
    let said = Buffer.alloc(0)
    machine.console.output.on('data', (data: Buffer) => {
      said = Buffer.concat([said, data])
    })
    await machine.start()
    await until(() => said.length === 5)
    await machine.reset()
    await until(() => said.length === 10)
    for (const at of [0, 5]) expect(said.readUInt32LE(at)).toBe(0xffff_ffff)
  })

  it('moves a window', async () => {
    const moved = 0xe000_0000
    const capacity = abi.VIRTIO_PCI_WINDOW.device.offset
    const sayAll = (address: number) => [0, 1, 2, 3].flatMap((byte) => guest.say(address, byte))
    const said = await says(
      { disks: [disk()] },
      sayAll(WINDOW + capacity),
      writeConfig(1, 0x10, moved),
      sayAll(WINDOW + capacity),
      sayAll(moved + capacity),
    )
    expect(said).toEqual([2048, 0xffff_ffff, 2048])
  })

  it('can put a window over RAM or over another and gets neither', async () => {
    const marker = 0x100_0000
    const said = await says(
      { disks: [disk(), disk()] },
      guest.store(marker, 0x1234_5678),
      writeConfig(1, 0x10, marker),
      ...[0, 1, 2, 3].map((byte) => guest.say(marker, byte)),
      writeConfig(1, 0x10, WINDOW + 0x8000),
      sayConfig(1, 0x10),
      sayConfig(2, 0),
    )
    expect(said).toEqual([0x1234_5678, WINDOW + 0x8000, 0x1042_1af4])
  })

  it('can switch memory decoding on and off for as long as it likes', async () => {
    const off = writeConfig(1, 4, 0)
    const on = writeConfig(1, 4, 6)
    const rounds = Array.from({ length: 50 }, () => [...off, ...on]).flat()
    const said = await says({ disks: [disk()] }, rounds, sayConfig(1, 4))
    expect(said[0]! & 0xffff).toBe(6)
  })

  it('may route messages anywhere', async () => {
    const table = WINDOW + abi.VIRTIO_PCI_WINDOW.msixTable.offset
    const said = await says(
      { disks: [disk()] },
      // The capability is the first; MSI-X on.
      writeConfig(1, 0x40, 0x8000_0000),
      ...[0xffff_fffc, 0, 0xfee0_0000, 0x8000_0000].flatMap((address) => [
        guest.store(table, address),
        guest.store(table + 4, address),
        guest.store(table + 8, 0xffff_ffff),
        guest.store(table + 12, 0),
        guest.store(table + 12, 1),
      ]),
      sayConfig(1, 0),
    )
    expect(said).toEqual([0x1042_1af4])
  })

  it('finds the same again after a reset', async () => {
    const machine = await create(
      { disks: [disk()], onReset: 'restart' },
      sayConfig(1, 0x10),
      sayConfig(1, 4),
      writeConfig(1, 0x10, 0xe000_0000),
      guest.resetByChipset,
    )
    const chunks: Buffer[] = []
    machine.console.output.on('data', (chunk: Buffer) => chunks.push(chunk))
    await machine.start()
    await until(() => Buffer.concat(chunks).length >= 24, 'two resets')
    await machine.stop()
    const said = Buffer.concat(chunks)
    const round = said.subarray(0, 8)
    expect(round.readUInt32LE(0)).toBe(WINDOW)
    expect(said.subarray(8, 16)).toEqual(round)
    expect(said.subarray(16, 24)).toEqual(round)
  })

  it('resets by port 0xcf9, which lies among those of PCI', async () => {
    const machine = await create({}, guest.resetByChipset)
    await machine.start()
    expect(await machine.stopped).toEqual({ kind: 'reset' })
  })
})

describe("a device of the program's own", () => {
  const doorbell = () => {
    const device = new PciDevice('doorbell', {
      vendorId: 0x1234,
      deviceId: 0x11e8,
      classCode: PCI_CLASS_OTHERS,
    })
    let rings = 0
    device.addBar(0, {
      kind: 'memory32',
      size: 4096,
      device: { name: 'doorbell', read: () => rings, write: () => void rings++ },
    })
    return device
  }

  it('is found on the bus and works', async () => {
    const said = await says(
      { attach: [{ pci: doorbell() }] },
      sayConfig(1, 0),
      guest.store(WINDOW, 1),
      guest.store(WINDOW + 8, 1),
      ...[0, 1, 2, 3].map((byte) => guest.say(WINDOW, byte)),
    )
    expect(said).toEqual([0x11e8_1234, 2])
  })

  it('needs a PCI bus, to be one, and to be nowhere else', async () => {
    const invalid = { code: 'ERR_INVALID_OPTION', option: 'attach[0].pci' }
    const device = doorbell()
    const attach = [{ pci: device }]
    await expect(create({ attach, transport: 'mmio' }, guest.spin)).rejects.toMatchObject(invalid)
    const wrong = [{ pci: () => 7 as never }]
    await expect(create({ attach: wrong }, guest.spin)).rejects.toMatchObject(invalid)
    await using first = await create({ attach }, guest.spin)
    expect(first.state).toBe('created')
    await expect(create({ attach }, guest.spin)).rejects.toMatchObject({ code: 'ERR_STATE' })
  })
})

describe('plugging', () => {
  const seesSlot = (slot: number) => sayConfig(slot, 0)
  /** Waits for a character, then says what is in a slot; ejects slot 1 at the end. */
  const waitKey = [
    ...[...port(0x3f8 + 5), 0xec, 0xa8, 0x01, 0x74, 0xfb], // 1: in %dx, %al; test $1, %al; jz 1b
    ...[...port(0x3f8), 0xec],
  ]

  it('a disk and a card in and out, as the guest lets them go', async () => {
    const machine = await create(
      { disks: [disk()] },
      waitKey,
      seesSlot(2),
      seesSlot(3),
      sayInl(PCI_HOTPLUG_PORT), // which have come
      waitKey,
      sayInl(PCI_HOTPLUG_PORT + 4), // which are to go
      outl(PCI_HOTPLUG_PORT + 8, 0xffff_ffff),
      seesSlot(1),
      seesSlot(2),
      seesSlot(3),
      guest.powerOff,
    )
    const chunks: Buffer[] = []
    machine.console.output.on('data', (chunk: Buffer) => chunks.push(chunk))
    const said = () => {
      const bytes = Buffer.concat(chunks)
      return Array.from({ length: bytes.length >> 2 }, (_, i) => bytes.readUInt32LE(4 * i))
    }
    await machine.start()
    const plugged = await machine.plugDisk(disk())
    const card = await machine.plugNet({ backend: new VirtualSwitch().port(), link: false })
    expect(plugged.name).toBe('block1')
    expect(machine.disks).toHaveLength(2)
    expect(machine.nets).toEqual([card])
    machine.console.input.write('x')
    await until(() => said().length === 3, 'what has come')
    expect(said()).toEqual([0x1042_1af4, 0x1041_1af4, 0b1100])
    const gone = Promise.all([machine.unplug(plugged), machine.unplug(card)])
    machine.console.input.write('x')
    await gone
    await machine.stopped
    // Slot 1 was ejected, too, but nobody had asked for that.
    expect(said().slice(3)).toEqual([0b1100, 0x1042_1af4, 0xffff_ffff, 0xffff_ffff])
    expect(machine.disks.map(({ name }) => name)).toEqual(['block0'])
    expect(machine.nets).toEqual([])
  })

  it('leaves nothing behind, and the slot and the backend can be used again', async () => {
    const machine = await create({}, guest.spin)
    await machine.start()
    const before = openFds()
    for (let round = 0; round < 40; round++) {
      const plugged = await machine.plugDisk(disk())
      const gone = machine.unplug(plugged)
      await machine.reset() // a guest that starts anew has let go
      await gone
      expect(machine.disks).toEqual([])
    }
    expect(openFds()).toBe(before)
  })

  it('is refused when every slot is taken', async () => {
    const disks = Array.from({ length: 30 }, disk)
    const machine = await create({ disks }, guest.spin)
    await expect(machine.plugDisk(disk())).rejects.toMatchObject({ code: 'ERR_PCI_SLOTS' })
    expect(machine.disks).toHaveLength(30)
    await expect(
      VirtualMachine.create({
        kernel: guest.kernel(),
        transport: 'pci',
        disks: [...disks, disk()],
      }),
    ).rejects.toMatchObject({ code: 'ERR_INVALID_OPTION', option: 'disks' })
  })

  it('leaves nothing behind where a watchdog finds no slot', async () => {
    const before = openFds()
    const devices = { watchdog: { model: 'i6300esb' as const } }
    const disks = Array.from({ length: 30 }, disk)
    const refused = create({ disks, devices }, guest.spin)
    await expect(refused).rejects.toMatchObject({ code: 'ERR_PCI_SLOTS' })
    expect(openFds()).toBe(before)
    await create({ disks: disks.slice(1), devices }, guest.spin)
  })

  it.each([[{ transport: 'mmio' }], [{ acpi: false }]] as const)(
    'is refused with %o',
    async (options) => {
      const machine = await create({ disks: [disk()], ...options }, guest.spin)
      const refused = { code: 'ERR_STATE', option: 'transport' }
      await expect(machine.plugDisk(disk())).rejects.toMatchObject(refused)
      await expect(machine.unplug(machine.disks[0]!)).rejects.toMatchObject(refused)
    },
  )

  it('takes what a disk is and what is plugged in only', async () => {
    const machine = await create({ disks: [disk()] }, guest.spin)
    const invalid = { code: 'ERR_INVALID_OPTION' }
    await expect(machine.plugDisk(7 as never)).rejects.toMatchObject({ ...invalid, option: 'disk' })
    await expect(
      machine.plugNet({ backend: disk() as never, links: 1 } as never),
    ).rejects.toMatchObject(invalid)
    await expect(machine.unplug(disk() as never)).rejects.toMatchObject({
      ...invalid,
      option: 'device',
    })
    await expect(machine.unplug(machine.disks[0]!, { timeout: -1 })).rejects.toMatchObject(invalid)
  })

  it('out ends with the guest, or when nobody waits any longer', async () => {
    const machine = await create({ disks: [disk()] }, guest.spin)
    await machine.start()
    const [plugged] = machine.disks
    await expect(machine.unplug(plugged!, { timeout: 1 })).rejects.toMatchObject({
      code: 'ERR_TIMEOUT',
    })
    const signal = AbortSignal.abort(new Error('no longer'))
    await expect(machine.unplug(plugged!, { signal })).rejects.toThrow('no longer')
    expect(machine.disks).toEqual([plugged])
    const gone = expect(machine.unplug(plugged!)).rejects.toMatchObject({ code: 'ERR_STATE' })
    await machine.stop()
    await gone
    await expect(machine.plugDisk(disk())).rejects.toMatchObject({ code: 'ERR_STATE' })
  })
})
