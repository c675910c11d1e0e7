import {
  ACPI_PM_PORT,
  COM1_PORT,
  VIRTIO_MMIO_START,
  VIRTIO_MMIO_STRIDE,
} from '../../lib/arch/x86-64/layout.js'
import { PM1_CNT, SLP_EN, SLP_TYP_S5 } from '../../lib/devices/legacy/acpi-pm.js'
import * as mmio from '../../lib/devices/virtio/transport/virtio-mmio.js'
import { le16, le32 } from '../../lib/util/bits.js'
import { bzImage } from '../helpers/kernel-images.js'

// Kernels of a few instructions in 64-bit mode.

/** mov $port, %edx */
const port = (number: number) => [0xba, ...le32(number)]

/** A byte to a port. */
export const outb = (number: number, value: number) => [...port(number), 0xb0, value, 0xee]

/** Enters S5 by the ACPI PM control register. */
const control = SLP_EN | (SLP_TYP_S5 << 10)
export const powerOff = [
  ...port(ACPI_PM_PORT + PM1_CNT),
  ...[0x66, 0xb8, ...le16(control)], // mov $control, %ax
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
  ...le32(address),
  ...[0xeb, 0xf6],
]

/** A 32-bit value to memory or a register of a device's below 4 GiB. */
export const store = (address: number, value: number) => [
  ...[0xbb, ...le32(address)], // mov $address, %ebx
  ...[0xc7, 0x03, ...le32(value)], // movl $value, (%rbx)
]

/** Says a byte of a 32-bit value in memory or a register of a device's: the lowest unless told. */
export const say = (address: number, byte = 0) => [
  ...[0xbb, ...le32(address)], // mov $address, %ebx
  ...[0x8b, 0x03], // mov (%rbx), %eax
  ...[0xc1, 0xe8, 8 * byte], // shr $8 * byte, %eax
  ...port(COM1_PORT),
  0xee, // out %al, %dx
]

/** The address of a register of the virtio-mmio device in a slot. */
export const register = (slot: number, offset: number) =>
  VIRTIO_MMIO_START + slot * VIRTIO_MMIO_STRIDE + offset

/** Sets up queue 0 of the device in a slot as a driver does, and tells the device that it is ready. */
export const startDevice = (
  slot: number,
  queue: { size: number; descriptorArea: number; driverArea: number; deviceArea: number },
) => {
  const writes: readonly (readonly [offset: number, value: number])[] = [
    [mmio.VIRTIO_MMIO_STATUS, 1],
    [mmio.VIRTIO_MMIO_STATUS, 3],
    [mmio.VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1],
    [mmio.VIRTIO_MMIO_DRIVER_FEATURES, 1], // VIRTIO_F_VERSION_1
    [mmio.VIRTIO_MMIO_STATUS, 11],
    [mmio.VIRTIO_MMIO_QUEUE_SEL, 0],
    [mmio.VIRTIO_MMIO_QUEUE_NUM, queue.size],
    [mmio.VIRTIO_MMIO_QUEUE_DESC_LOW, queue.descriptorArea],
    [mmio.VIRTIO_MMIO_QUEUE_AVAIL_LOW, queue.driverArea],
    [mmio.VIRTIO_MMIO_QUEUE_USED_LOW, queue.deviceArea],
    [mmio.VIRTIO_MMIO_QUEUE_READY, 1],
    [mmio.VIRTIO_MMIO_STATUS, 15],
  ]
  return writes.flatMap(([offset, value]) => store(register(slot, offset), value))
}

/** A bzImage that does `code` and spins. */
export const kernel = (...code: number[][]) =>
  bzImage({ code: Uint8Array.from([...code, spin].flat()), kernelSize: 65536 })
