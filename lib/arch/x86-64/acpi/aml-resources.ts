import { le16, le32, littleEndian } from '../../../util/bits.js'
import { type Aml, buffer, join } from './aml.js'

// Resource descriptors, what `_CRS` is made of (ACPI 6.5, section 6.4).

const IRQ_NO_FLAGS = 0x22
const IO_PORT = 0x47
const END_TAG = 0x79
const MEMORY_32_FIXED = 0x86
const EXTENDED_INTERRUPT = 0x89
/** Address space descriptors of 2, 4 and 8 bytes for each address. */
const ADDRESS_SPACE = { 2: 0x88, 4: 0x87, 8: 0x8a } as const

const DECODE_16 = 1
const READ_WRITE = 1
const CONSUMER = 1 << 0
const EDGE = 1 << 1
const MEMORY_RANGE = 0
const IO_RANGE = 1
const BUS_NUMBER_RANGE = 2
/** General flags: both ends are fixed, and what is described is passed on to others. */
const MIN_FIXED_MAX_FIXED = 0x0c
const ENTIRE_RANGE = 3

/** `ResourceTemplate () { … }`. The end tag's checksum byte is 0: none. */
export function resourceTemplate(...descriptors: Aml[]): Aml {
  return buffer(join(...descriptors, END_TAG, 0))
}

/** `IO (Decode16, port, port, 0, count)` */
export function ioPorts(port: number, count: number): Aml {
  return [IO_PORT, DECODE_16, ...le16(port), ...le16(port), 0, count]
}

/** `IRQNoFlags () {irq}`: an ISA interrupt, edge-triggered, active high, not shared. */
export function isaIrq(irq: number): Aml {
  return [IRQ_NO_FLAGS, ...le16(1 << irq)]
}

/** `Memory32Fixed (ReadWrite, address, size)` */
export function memory32Fixed(address: number, size: number): Aml {
  return [MEMORY_32_FIXED, ...le16(9), READ_WRITE, ...le32(address), ...le32(size)]
}

/** `Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) {gsi}` */
export function edgeInterrupt(gsi: number): Aml {
  return [EXTENDED_INTERRUPT, ...le16(6), CONSUMER | EDGE, 1, ...le32(gsi)]
}

/** `WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode, 0, first, last, 0, count)` */
export function busNumbers(first: number, last: number): Aml {
  return addressSpace(2, BUS_NUMBER_RANGE, 0, { start: first, end: last + 1 })
}

/** `WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange, …)`: what a bridge passes on. */
export function ioWindow(range: ResourceRange): Aml {
  return addressSpace(2, IO_RANGE, ENTIRE_RANGE, range)
}

/** `DWordMemory` or, above 4 GiB, `QWordMemory (ResourceProducer, …, NonCacheable, ReadWrite, …)`: what a bridge passes on. */
export function memoryWindow(range: ResourceRange): Aml {
  return addressSpace(range.end > 2 ** 32 ? 8 : 4, MEMORY_RANGE, READ_WRITE, range)
}

/** Addresses from `start` to before `end`. */
export interface ResourceRange {
  readonly start: number
  readonly end: number
}

function addressSpace(width: 2 | 4 | 8, type: number, flags: number, range: ResourceRange): Aml {
  const { start, end } = range
  const granularity = 0
  const translation = 0
  const values = [granularity, start, end - 1, translation, end - start]
  const body = join(
    ...[type, MIN_FIXED_MAX_FIXED, flags],
    ...values.map((value) => littleEndian(value, width)),
  )
  return join(ADDRESS_SPACE[width], le16(body.length), body)
}
