import { type Aml, buffer, littleEndian } from './aml.js'

// Resource descriptors, what `_CRS` is made of (ACPI 6.5, section 6.4).

const IRQ_NO_FLAGS = 0x22
const IO_PORT = 0x47
const END_TAG = 0x79
const MEMORY_32_FIXED = 0x86
const EXTENDED_INTERRUPT = 0x89

const DECODE_16 = 1
const READ_WRITE = 1
const CONSUMER = 1 << 0
const EDGE = 1 << 1

/** `ResourceTemplate () { … }`. The end tag's checksum byte is 0: none. */
export function resourceTemplate(...descriptors: Aml[]): Aml {
  return buffer([...descriptors.flat(), END_TAG, 0])
}

/** `IO (Decode16, port, port, 0, count)` */
export function ioPorts(port: number, count: number): Aml {
  return [IO_PORT, DECODE_16, ...littleEndian(port, 2), ...littleEndian(port, 2), 0, count]
}

/** `IRQNoFlags () {irq}`: an ISA interrupt, edge-triggered, active high, not shared. */
export function isaIrq(irq: number): Aml {
  return [IRQ_NO_FLAGS, ...littleEndian(1 << irq, 2)]
}

/** `Memory32Fixed (ReadWrite, address, size)` */
export function memory32Fixed(address: number, size: number): Aml {
  return [
    MEMORY_32_FIXED,
    ...littleEndian(9, 2),
    READ_WRITE,
    ...littleEndian(address, 4),
    ...littleEndian(size, 4),
  ]
}

/** `Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) {gsi}` */
export function edgeInterrupt(gsi: number): Aml {
  return [EXTENDED_INTERRUPT, ...littleEndian(6, 2), CONSUMER | EDGE, 1, ...littleEndian(gsi, 4)]
}
