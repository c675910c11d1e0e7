import { type Aml, device, eisaId, integer, name, pkg, scope, string } from './aml.js'
import { edgeInterrupt, ioPorts, isaIrq, memory32Fixed, resourceTemplate } from './aml-resources.js'
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

export interface DsdtOptions {
  readonly cpus: number
  readonly uarts: readonly PortDevice[]
  readonly rtc: PortDevice | undefined
  readonly virtioMmio: readonly MemoryDevice[]
  /** SLP_TYP for power-off. */
  readonly s5SleepType: number
}

const UART_PORTS = 8
const RTC_PORTS = 2

/** Differentiated System Description Table: what is there besides the fixed hardware, and how to power off. */
export function buildDsdt(options: DsdtOptions): Uint8Array {
  const { cpus, uarts, rtc, virtioMmio, s5SleepType } = options
  const devices = [
    ...Array.from({ length: cpus }, (_, uid) => cpuDevice(uid)),
    ...uarts.map((uart, index) => uartDevice(uart, index)),
    ...(rtc ? [rtcDevice(rtc)] : []),
    ...virtioMmio.map((window, uid) => virtioMmioDevice(window, uid)),
  ]
  // `\_S5`: the value for PM1a, the value for PM1b, two reserved (section 7.4.2).
  const s5 = name('\\_S5', pkg(integer(s5SleepType), integer(s5SleepType), integer(0), integer(0)))
  return systemTable('DSDT', 2, [...s5, ...scope('\\_SB', ...devices)])
}

function cpuDevice(uid: number): Aml {
  return device(
    `C${hexDigits(uid, 3)}`,
    name('_HID', string('ACPI0007')),
    name('_UID', integer(uid)),
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

function hexDigits(value: number, digits: number): string {
  return value.toString(16).toUpperCase().padStart(digits, '0')
}
