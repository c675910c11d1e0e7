import { ACPI_PM_PORT, COM1_PORT } from '../../lib/arch/x86-64/layout.js'
import { PM1_CNT, SLP_EN, SLP_TYP_S5 } from '../../lib/devices/legacy/acpi-pm.js'
import { bzImage } from '../helpers/kernel-images.js'

// Kernels of a few instructions in 64-bit mode.

/** mov $port, %edx */
const port = (number: number) => [0xba, number & 0xff, number >> 8, 0, 0]

/** A byte to a port. */
export const outb = (number: number, value: number) => [...port(number), 0xb0, value, 0xee]

/** Enters S5 by the ACPI PM control register. */
const control = SLP_EN | (SLP_TYP_S5 << 10)
export const powerOff = [
  ...port(ACPI_PM_PORT + PM1_CNT),
  ...[0x66, 0xb8, control & 0xff, control >> 8], // mov $control, %ax
  ...[0x66, 0xef], // out %ax, %dx
]
/** jmp . */
export const spin = [0xeb, 0xfe]
/** hlt, and again after an interrupt. */
export const halt = [0xf4, 0xeb, 0xfd]
export const resetByChipset = [...outb(0xcf9, 0x06), ...spin]
export const resetByKeyboardController = [...outb(0x64, 0xfe), ...spin]
/** ud2, for which the boot protocol's interrupt table has no handler. */
export const tripleFault = [0x0f, 0x0b]

export const print = (text: string) =>
  [...Buffer.from(text, 'latin1')].flatMap((byte) => outb(COM1_PORT, byte))

/** Echoes what comes in by the UART until a line feed, then powers off. */
export const echoLine = [
  ...port(COM1_PORT + 5), // LSR
  ...[0xec, 0xa8, 0x01, 0x74, 0xfb], // 1: in %dx, %al; test $1, %al; jz 1b
  ...port(COM1_PORT),
  ...[0xec, 0xee, 0x3c, 0x0a], // in %dx, %al; out %al, %dx; cmp $'\n', %al
  ...[0x75, 0xeb], // jne to the start
  ...powerOff,
]

/** Counts up at `address` for ever. */
export const count = (address: number) => [
  ...[0x48, 0xff, 0x04, 0x25], // incq address
  ...[address & 0xff, (address >> 8) & 0xff, (address >> 16) & 0xff, address >> 24],
  ...[0xeb, 0xf6],
]

/** A bzImage that does `code` and spins. */
export const kernel = (...code: number[][]) =>
  bzImage({ code: Uint8Array.from([...code, spin].flat()), kernelSize: 65536 })
