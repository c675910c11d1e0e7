import { describe, expect, it } from 'vitest'
import {
  ACPI_PM_PORT_COUNT,
  ACPI_RESET_VALUE,
  type AcpiOptions,
  buildAcpiTables,
  S5_SLEEP_TYPE,
} from '../../../../lib/arch/x86-64/acpi/acpi-tables.js'
import type { PciHostOptions } from '../../../../lib/arch/x86-64/acpi/pci-host.js'
import * as pciHost from '../../../../lib/arch/x86-64/acpi/pci-host.js'
import type { AffinityOptions } from '../../../../lib/arch/x86-64/acpi/srat.js'
import * as layout from '../../../../lib/arch/x86-64/layout.js'
import * as pm from '../../../../lib/devices/legacy/acpi-pm.js'
import { PCI_HOTPLUG_PORTS } from '../../../../lib/devices/pci/pci-hotplug.js'
import { disassemble, evaluate, iaslMissing } from '../../../helpers/iasl.js'

const virtioMmio = layout.VIRTIO_MMIO_GSIS.map((gsi, index) => ({
  address: layout.VIRTIO_MMIO_START + index * layout.VIRTIO_MMIO_STRIDE,
  size: 0x200,
  gsi,
}))

function options(change: Partial<AcpiOptions> = {}): AcpiOptions {
  return {
    address: layout.ACPI_START,
    cpus: cpus(2),
    ioapic: { id: 0, address: layout.IOAPIC_START, gsiBase: 0 },
    sciGsi: layout.SCI_GSI,
    pmBase: layout.ACPI_PM_PORT,
    uarts: [{ port: layout.COM1_PORT, gsi: layout.COM1_GSI }],
    rtc: { port: layout.CMOS_PORT, gsi: layout.CMOS_GSI },
    virtioMmio,
    ...change,
  }
}

const pci: PciHostOptions = {
  ecam: { address: layout.PCI_ECAM_START, size: layout.PCI_ECAM_SIZE },
  configPort: layout.PCI_CONFIG_PORT,
  memory: [
    { start: 0xc000_0000, end: 0xd000_0000 },
    { start: 2 ** 39, end: 2 ** 40 },
  ],
  io: { start: 0x1000, end: 0x1_0000 },
  gsis: Array.from({ length: 32 }, (_, slot) => 16 + (slot % 8)),
  hotplugPort: layout.PCI_HOTPLUG_PORT,
  hotplugSlots: [1, 30],
}

const affinity: AffinityOptions = {
  cpus: [
    { apicId: 0, node: 0 },
    { apicId: 300, node: 257 },
  ],
  memory: [
    { node: 0, guestAddress: 0, size: 0xb000_0000 },
    { node: 257, guestAddress: 0x1_0000_0000, size: 0x4000_0000, hotPluggable: true },
  ],
  distances: [
    [10, 21],
    [21, 10],
  ],
}

function cpus(count: number): { apicId: number }[] {
  return Array.from({ length: count }, (_, apicId) => ({ apicId }))
}

/** The tables by signature, found as a guest finds them: from the RSDP by the addresses in the tables. */
function tablesOf(change?: Partial<AcpiOptions>): Map<string, { at: number; bytes: Uint8Array }> {
  const { rsdpAddress, pieces } = buildAcpiTables(options(change))
  const memory = new Uint8Array(layout.ACPI_START + layout.ACPI_SIZE)
  for (const { address, bytes } of pieces) memory.set(bytes, address)
  const view = new DataView(memory.buffer)
  const tables = new Map<string, { at: number; bytes: Uint8Array }>()
  const add = (
    at: number,
    signature = text(memory.subarray(at, at + 4)),
    size = view.getUint32(at + 4, true),
  ) => {
    tables.set(signature, { at, bytes: memory.slice(at, at + size) })
    return at
  }
  add(rsdpAddress, text(memory.subarray(rsdpAddress, rsdpAddress + 8)), 36)
  const xsdt = add(Number(view.getBigUint64(rsdpAddress + 24, true)))
  for (let at = xsdt + 36; at < xsdt + view.getUint32(xsdt + 4, true); at += 8) {
    add(Number(view.getBigUint64(at, true)))
  }
  const fadt = tables.get('FACP')!.at
  add(view.getUint32(fadt + 36, true))
  add(Number(view.getBigUint64(fadt + 140, true)))
  return tables
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes)
}

function sum(bytes: Uint8Array): number {
  return bytes.reduce((total, byte) => total + byte, 0) & 0xff
}

describe('ACPI tables', () => {
  it('are found from the RSDP and add up', () => {
    const tables = tablesOf()
    expect([...tables.keys()]).toEqual(['RSD PTR ', 'XSDT', 'FACP', 'APIC', 'FACS', 'DSDT'])
    for (const [signature, { bytes }] of tables) {
      if (signature !== 'FACS') expect(sum(bytes), signature).toBe(0)
    }
    expect(sum(tables.get('RSD PTR ')!.bytes.subarray(0, 20))).toBe(0)
    expect(tables.get('FACS')!.at % 64).toBe(0)
    expect(tables.get('RSD PTR ')!.at % 16).toBe(0)
  })

  it('do not overlap', () => {
    const ranges = buildAcpiTables(options({ cpus: cpus(64) }))
      .pieces.map(({ address, bytes }) => [address, address + bytes.length] as const)
      .sort((a, b) => a[0] - b[0])
    for (const [i, [start]] of ranges.slice(1).entries()) {
      expect(start).toBeGreaterThanOrEqual(ranges[i]![1])
    }
  })

  it('describe the power management device that there is', () => {
    expect(layout.ACPI_PM1_EVENT).toBe(pm.PM1_STS)
    expect(layout.ACPI_PM1_CONTROL).toBe(pm.PM1_CNT)
    expect(layout.ACPI_PM_TIMER).toBe(pm.PM_TMR)
    expect(layout.ACPI_RESET).toBe(pm.RESET_REG)
    expect(S5_SLEEP_TYPE).toBe(pm.SLP_TYP_S5)
    expect(ACPI_RESET_VALUE).toBe(pm.RESET_VALUE)
    expect(layout.ACPI_GPE0).toBe(pm.GPE0_STS)
    expect(pciHost.PCI_HOTPLUG_PORTS).toBe(PCI_HOTPLUG_PORTS)
    expect(ACPI_PM_PORT_COUNT).toBe(pm.ACPI_PM_PORTS)
  })

  it.skipIf(iaslMissing)('are what ACPICA takes without a word', () => {
    const everything = { cpus: [...cpus(255), { apicId: 300 }], pci, affinity }
    for (const [signature, { bytes }] of tablesOf(everything)) {
      if (signature === 'RSD PTR ') continue
      const { messages } = disassemble(signature, bytes)
      expect(messages, signature).toContain('0 Errors, 0 Warnings, 0 Remarks')
      expect(messages, signature).not.toMatch(
        /\b(error|warning|invalid|incorrect|corrupt)\b(?! *s?, )/i,
      )
    }
  })

  it.skipIf(iaslMissing)('tell which processors and which memory belong together', () => {
    const tables = tablesOf({ affinity })
    const table = (signature: string) =>
      flat(disassemble(signature, tables.get(signature)!.bytes).asl)
    const srat = table('SRAT')
    expect(srat).toMatch(/Proximity Domain Low\(8\) : 00 .*Apic ID : 00/)
    expect(srat).toMatch(/Proximity Domain : 00000101 .*Apic ID : 0000012C/)
    expect(srat).toMatch(/Base Address : 0000000100000000 .*Address Length : 0000000040000000/)
    expect(srat.match(/Hot Pluggable : (\d)/g)).toEqual(['Hot Pluggable : 0', 'Hot Pluggable : 1'])
    expect(table('SLIT')).toMatch(/Localities : 0000000000000002 .*: 0A 15 .*: 15 0A/)
    expect(tablesOf().has('SRAT')).toBe(false)
  })

  it.skipIf(iaslMissing)('list every device in the DSDT', () => {
    const { asl } = disassemble('DSDT', tablesOf().get('DSDT')!.bytes)
    const devices = asl.split('Device (').slice(1)
    expect(devices.map((device) => device.slice(0, 4))).toEqual([
      ...['C000', 'C001', 'MBRD', 'COM1', 'RTC)'],
      ...virtioMmio.map((_, i) => `VR0${i.toString(16).toUpperCase()}`),
    ])
    const motherboard = flat(devices[2]!)
    expect(motherboard).toContain('Name (_HID, EisaId ("PNP0C02")')
    expect(motherboard).toContain('IO (Decode16, 0x0600, // Range Minimum 0x0600,')
    expect(motherboard).toContain('0x10, // Length')
    const uart = flat(devices[3]!)
    expect(uart).toContain('Name (_HID, EisaId ("PNP0501")')
    expect(uart).toContain('IO (Decode16, 0x03F8, // Range Minimum 0x03F8,')
    expect(uart).toContain('IRQNoFlags () {4}')
    const last = flat(devices.at(-1)!)
    expect(last).toContain('Name (_HID, "LNRO0005")')
    expect(last).toContain('Name (_UID, 0x0F)')
    expect(last).toContain('Memory32Fixed (ReadWrite, 0xD000F000, // Address Base 0x00000200,')
    expect(last).toContain(
      'Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive, ,, ) { 0x0000000F, }',
    )
    expect(flat(asl)).toContain('Name (\\_S5, Package (0x04) // _S5_: S5 System State { 0x05,')
  })

  it.skipIf(iaslMissing)('list a panic device and a generation ID where there are any', () => {
    const vmGenerationId = Uint8Array.from({ length: 16 }, (_, i) => i + 1)
    const change = { pvpanic: 0x505, vmGenerationId }
    const { asl, messages } = disassemble('DSDT', tablesOf(change).get('DSDT')!.bytes)
    expect(messages).toContain('0 Errors, 0 Warnings, 0 Remarks')
    const [panic, generation] = asl.split('Device (').slice(6, 8).map(flat)
    expect(panic).toContain('Name (_HID, "QEMU0001")')
    expect(panic).toContain('IO (Decode16, 0x0505, // Range Minimum 0x0505,')
    expect(generation).toContain('Name (_CID, "VM_Gen_Counter")')
    const [, low] = /Name \(ADDR, Package \(0x02\) \{ 0x(\w+), Zero \}\)/.exec(generation!) ?? []
    const { pieces } = buildAcpiTables(options(change))
    const id = pieces.find(({ address }) => address === Number.parseInt(low!, 16))
    expect(id?.bytes).toEqual(vmGenerationId)
    expect(id!.address % 8).toBe(0)
  })

  it.skipIf(iaslMissing)('describe a PCI host bridge with what it passes on', () => {
    const tables = tablesOf({ pci, virtioMmio: [] })
    expect([...tables.keys()]).toContain('MCFG')
    const mcfg = disassemble('MCFG', tables.get('MCFG')!.bytes).asl
    expect(fields(mcfg, 'Base Address')).toEqual(['00000000B0000000'])
    expect(fields(mcfg, 'End Bus Number')).toEqual(['FF'])
    const fadt = disassemble('FACP', tables.get('FACP')!.bytes).asl
    expect(fields(fadt, 'MSI Not Supported (V4)')).toEqual(['0'])
    expect(fields(fadt, 'GPE0 Block Address')).toEqual(['00000606'])
    expect(fields(fadt, 'GPE0 Block Length')).toEqual(['02'])
    const asl = flat(disassemble('DSDT', tables.get('DSDT')!.bytes).asl)
    // What MCFG tells of is no one else's.
    expect(asl).toContain('Memory32Fixed (ReadWrite, 0xB0000000, // Address Base 0x10000000,')
    const host = asl.slice(asl.indexOf('Device (PCI0)'))
    expect(host).toContain('Name (_HID, EisaId ("PNP0A08")')
    expect(host).toMatch(/WordBusNumber \(ResourceProducer.* 0x0000, .* 0x00FF,/)
    expect(host).toMatch(/DWordMemory .* 0xC0000000, .* 0xCFFFFFFF,/)
    expect(host).toMatch(/QWordMemory .* 0x0000008000000000, .* 0x000000FFFFFFFFFF,/)
    expect(host).toContain('Package (0x04) { 0x0003FFFF, Zero, Zero, 0x13 }')
    expect(host).toContain('ToUUID ("33db4d5b-1ff7-401c-9657-7441c03dd766")')
    expect(host).toContain('Device (S1E) { Name (_ADR, 0x001E0000)')
    expect(host).toContain('Notify (S1E, 0x03)')
    expect(asl).toContain('Scope (\\_GPE) { Method (_E01, 0, NotSerialized)')
  })

  it.skipIf(iaslMissing)('tell the guest of the PCI slots whose bits the ports show', () => {
    const dsdt = tablesOf({ pci }).get('DSDT')!.bytes
    // The interpreter has a thread for each, so that they come in any order.
    const notices = (fill: number) =>
      [...evaluate(dsdt, '\\_GPE._E01', fill).matchAll(/Notify on \[(\w+)\].*Value (\w+)/g)]
        .map(([, device, value]) => `${device} ${value}`)
        .sort()
    expect(notices(0)).toEqual([])
    expect(notices(0x42)).toEqual(['S01_ 0x01', 'S01_ 0x03', 'S1E_ 0x01', 'S1E_ 0x03'])
    expect(notices(0x40)).toEqual(['S1E_ 0x01', 'S1E_ 0x03'])
    expect(evaluate(dsdt, '\\_SB.PCI0.S1E._EJ0', 0)).not.toMatch(/error|exception/i)
  })

  it.skipIf(iaslMissing)('make the SCI a level and give every CPU its APIC id', () => {
    const { asl } = disassemble(
      'APIC',
      tablesOf({ cpus: [{ apicId: 0 }, { apicId: 4 }] }).get('APIC')!.bytes,
    )
    expect(fields(asl, 'Local Apic ID')).toEqual(['00', '04'])
    expect(fields(asl, 'Processor ID')).toEqual(['00', '01', 'FF'])
    expect(fields(asl, 'Source')).toEqual(['09'])
    expect(fields(asl, 'Polarity')).toEqual(['1', '0'])
    expect(fields(asl, 'Trigger Mode')).toEqual(['3', '0'])
    expect(asl).not.toContain('x2APIC')
  })

  it.skipIf(iaslMissing)('give CPUs beyond 8-bit ids x2APIC entries', () => {
    const { asl } = disassemble('APIC', tablesOf({ cpus: cpus(257) }).get('APIC')!.bytes)
    expect(fields(asl, 'Local Apic ID')).toHaveLength(255)
    expect(fields(asl, 'Processor x2Apic ID')).toEqual(['000000FF', '00000100'])
    expect(fields(asl, 'Processor UID')).toEqual(['000000FF', '00000100', 'FFFFFFFF'])
  })

  it.skipIf(iaslMissing)('announce RTC, keyboard controller and PM timer only where told', () => {
    const fadt = (change: Partial<AcpiOptions>) =>
      disassemble('FACP', tablesOf(change).get('FACP')!.bytes).asl
    const withAll = fadt({ i8042: true })
    expect(fields(withAll, '8042 Present on ports 60/64 (V2)')).toEqual(['1'])
    expect(fields(withAll, 'CMOS RTC Not Present (V5)')).toEqual(['0'])
    expect(fields(withAll, 'PM Timer Block Address')).toEqual(['00000608'])
    expect(fields(withAll, 'RTC Century Index')).toEqual(['32'])
    expect(fields(withAll, 'Reset Register Supported (V2)')).toEqual(['1'])
    expect(fields(withAll, 'Legacy Devices Supported (V2)')).toEqual(['1'])
    expect(fields(withAll, 'Headless - No Video (V3)')).toEqual(['0'])
    const { rtc: _, ...rest } = options({ uarts: [] })
    const fadtTable = buildAcpiTables({ ...rest, pmTimer: false }).pieces.find(
      ({ bytes }) => text(bytes.subarray(0, 4)) === 'FACP',
    )!
    const withNone = disassemble('FACP', fadtTable.bytes).asl
    expect(fields(withNone, '8042 Present on ports 60/64 (V2)')).toEqual(['0'])
    expect(fields(withNone, 'CMOS RTC Not Present (V5)')).toEqual(['1'])
    expect(fields(withNone, 'PM Timer Block Address')).toEqual(['00000000'])
    expect(fields(withNone, 'PM Timer Block Length')).toEqual(['00'])
    expect(fields(withNone, 'Legacy Devices Supported (V2)')).toEqual(['0'])
    expect(fields(withNone, 'Headless - No Video (V3)')).toEqual(['1'])
  })

  it('of 32 vCPUs and 16 devices take less than half of their place', () => {
    const { pieces } = buildAcpiTables(options({ cpus: cpus(32), space: layout.ACPI_SIZE / 2 }))
    const end = Math.max(...pieces.map(({ address, bytes }) => address + bytes.length))
    expect(end).toBeLessThanOrEqual(layout.ACPI_START + layout.ACPI_SIZE / 2)
    const used = end - layout.ACPI_START
    expect(() => buildAcpiTables(options({ cpus: cpus(32), space: used }))).not.toThrow()
    expect(() => buildAcpiTables(options({ cpus: cpus(32), space: used - 1 }))).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION', option: 'cpus', value: 32 }),
    )
  })

  it('refuse more vCPUs than their place holds', () => {
    expect(() => buildAcpiTables(options({ cpus: cpus(1024) }))).not.toThrow()
    expect(() => buildAcpiTables(options({ cpus: cpus(4096) }))).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION', option: 'cpus', value: 4096 }),
    )
  })
})

function flat(asl: string): string {
  return asl.replace(/\s+/g, ' ')
}

function fields(asl: string, label: string): string[] {
  return asl
    .split('\n')
    .map((line) => /^(?:\[[^\]]*\])?\s*(.*?) : (\S+)/.exec(line))
    .filter((match) => match?.[1] === label)
    .map((match) => match![2]!)
}
