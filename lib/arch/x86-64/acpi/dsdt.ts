import {
  type Aml,
  device,
  eisaId,
  hexDigits,
  integer,
  join,
  name,
  pkg,
  scope,
  string,
} from './aml.js'
import { edgeInterrupt, ioPorts, isaIrq, memory32Fixed, resourceTemplate } from './aml-resources.js'
import { PCI_HOTPLUG_PORTS, type PciHostOptions, pciHost } from './pci-host.js'
import { systemTable } from './sdt.js'

/** A register window in memory with an interrupt by edge. */
export interface MemoryDevice {
  readonly address: number
  /** Bytes. */
  readonly size: number
  readonly gsi: number
}

export interface PortDevice {
  readonly port: number
  /** An ISA interrupt, 0 to 15. */
  readonly gsi: number
}

/** Ports that no device of the DSDT has: those of fixed hardware. */
export interface PortRange {
  readonly port: number
  /** At most 255. */
  readonly count: number
}

export interface DsdtOptions {
  readonly cpus: number
  /** What the guest must put no device on. */
  readonly motherboard: readonly PortRange[]
  readonly uarts: readonly PortDevice[]
  readonly rtc: PortDevice | undefined
  readonly virtioMmio: readonly MemoryDevice[]
  /** Port of the paravirtual panic device, if there is one. */
  readonly pvpanic?: number | undefined
  /** Guest-physical address of the VM generation ID, 16 bytes, if there is one. */
  readonly vmGenerationId?: number | undefined
  readonly pci: PciHostOptions | undefined
  /** SLP_TYP for power-off. */
  readonly s5SleepType: number
}

const UART_PORTS = 8
const RTC_PORTS = 2

/** Differentiated System Description Table: what is there besides the fixed hardware, and how to power off. */
export function buildDsdt(options: DsdtOptions): Uint8Array {
  const { cpus, motherboard, uarts, rtc, virtioMmio, pci, s5SleepType } = options
  const { pvpanic, vmGenerationId } = options
  const host = pci && pciHost(pci)
  const devices = [
    ...Array.from({ length: cpus }, (_, uid) => cpuDevice(uid)),
    motherboardDevice(motherboard, pci),
    ...uarts.map((uart, index) => uartDevice(uart, index)),
    ...(rtc ? [rtcDevice(rtc)] : []),
    ...(pvpanic === undefined ? [] : [pvpanicDevice(pvpanic)]),
    ...(vmGenerationId === undefined ? [] : [vmGenerationDevice(vmGenerationId)]),
    ...virtioMmio.map((window, uid) => virtioMmioDevice(window, uid)),
    ...(host ? [host.device] : []),
  ]
  // `\_S5`: the value for PM1a, the value for PM1b, two reserved (section 7.4.2).
  const s5 = name('\\_S5', pkg(integer(s5SleepType), integer(s5SleepType), integer(0), integer(0)))
  return systemTable('DSDT', 2, join(s5, scope('\\_SB', ...devices), host?.events ?? []))
}

function cpuDevice(uid: number): Aml {
  return device(
    `C${hexDigits(uid, 3)}`,
    name('_HID', string('ACPI0007')),
    name('_UID', integer(uid)),
  )
}

/** PNP0C02: nothing to drive, but the addresses are taken. MCFG's must be among them (PCI Firmware 3.3, 4.1.2). */
function motherboardDevice(ranges: readonly PortRange[], pci: PciHostOptions | undefined): Aml {
  const ports = ranges.map(({ port, count }) => ioPorts(port, count))
  const hotplug =
    pci?.hotplugPort === undefined ? [] : [ioPorts(pci.hotplugPort, PCI_HOTPLUG_PORTS)]
  const ecam = pci ? [memory32Fixed(pci.ecam.address, pci.ecam.size)] : []
  return device(
    'MBRD',
    name('_HID', eisaId('PNP0C02')),
    name('_CRS', resourceTemplate(...ports, ...hotplug, ...ecam)),
  )
}

function uartDevice({ port, gsi }: PortDevice, index: number): Aml {
  return device(
    `COM${index + 1}`,
    name('_HID', eisaId('PNP0501')),
    name('_UID', integer(index + 1)),
    name('_CRS', resourceTemplate(ioPorts(port, UART_PORTS), isaIrq(gsi))),
  )
}

function rtcDevice({ port, gsi }: PortDevice): Aml {
  return device(
    'RTC',
    name('_HID', eisaId('PNP0B00')),
    name('_CRS', resourceTemplate(ioPorts(port, RTC_PORTS), isaIrq(gsi))),
  )
}

/** QEMU docs/specs/pvpanic.rst. */
function pvpanicDevice(port: number): Aml {
  return device(
    'PEVT',
    name('_HID', string('QEMU0001')),
    name('_STA', integer(0xf)),
    name('_CRS', resourceTemplate(ioPorts(port, 1))),
  )
}

/** "Virtual Machine Generation ID", Microsoft, 2012: what matters is the compatible ID, and the address in two halves. */
function vmGenerationDevice(address: number): Aml {
  return device(
    'VGEN',
    name('_HID', string('NKVM0001')),
    name('_CID', string('VM_Gen_Counter')),
    name('_DDN', string('VM_Gen_Counter')),
    name('ADDR', pkg(integer(address % 2 ** 32), integer(Math.floor(address / 2 ** 32)))),
  )
}

/** `LNRO0005` is what Linux's virtio_mmio driver binds to. `_CCA`: its DMA is coherent with the caches. */
function virtioMmioDevice({ address, size, gsi }: MemoryDevice, uid: number): Aml {
  return device(
    `VR${hexDigits(uid, 2)}`,
    name('_HID', string('LNRO0005')),
    name('_UID', integer(uid)),
    name('_CCA', integer(1)),
    name('_CRS', resourceTemplate(memory32Fixed(address, size), edgeInterrupt(gsi))),
  )
}
