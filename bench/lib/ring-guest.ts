import { COM1_PORT, VIRTIO_MMIO_START } from '../../lib/arch/x86-64/layout.js'
import * as mmio from '../../lib/devices/virtio/transport/virtio-mmio.js'
import type { VirtualMachineOptions } from '../../lib/index.js'

// Guests of a few instructions, which need no kernel and so run on any KVM: in 64-bit mode, at this address.
const CODE = 0x10_0000
const DESCRIPTORS = CODE + 0x1000
const AVAILABLE = CODE + 0x2000
const USED = CODE + 0x3000
const BUFFERS = CODE + 0x1_0000
const IMAGE_SIZE = 0x1_0000
const RING = 16

const dword = (value: number) => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff)

/** movl $value, address */
const store = (address: number, value: number) => [
  ...[0xbb, ...dword(address)], // mov $address, %ebx
  ...[0xc7, 0x03, ...dword(value)], // movl $value, (%rbx)
]

type Options = Pick<VirtualMachineOptions, 'kernel' | 'flatBinary' | 'memory' | 'transport'>

function guest(code: readonly number[], data: (view: DataView) => void = () => {}): Options {
  const image = new Uint8Array(IMAGE_SIZE)
  image.set(code)
  data(new DataView(image.buffer))
  const flatBinary = { mode: 'long', address: CODE } as const
  return { kernel: image, flatBinary, memory: '32M', transport: 'mmio' }
}

/** Says one byte, and halts. */
export const sayingGuest = guest([
  ...[0xba, ...dword(COM1_PORT)], // mov $COM1_PORT, %edx
  ...[0xb0, 0x21, 0xee], // mov $'!', %al; out %al, (%dx)
  ...[0xf4, 0xeb, 0xfd], // 1: hlt; jmp 1b
])

/** Reads a port over and over: in $port, %al; jmp to it. */
export const portGuest = (port: number) => guest([0xe4, port, 0xeb, 0xfc])

interface Buffer {
  readonly length: number
  readonly writable?: boolean
}

/**
 * Offers chains of buffers to the first virtio device, over and over: all of them, a kick, and when they are used all of
 * them again.
 * @param chains buffers of each
 */
function ringGuest(queue: number, chains: readonly (readonly Buffer[])[]) {
  const register = (offset: number, value: number) => store(VIRTIO_MMIO_START + offset, value)
  const again = [
    ...[0x66, 0x83, 0x04, 0x25, ...dword(AVAILABLE + 2), chains.length], // addw $chains, AVAILABLE + 2
    ...register(mmio.VIRTIO_MMIO_QUEUE_NOTIFY, queue),
    ...[0x66, 0x8b, 0x04, 0x25, ...dword(AVAILABLE + 2)], // mov AVAILABLE + 2, %ax
    ...[0xf3, 0x90], // 1: pause
    ...[0x66, 0x39, 0x04, 0x25, ...dword(USED + 2)], // cmp %ax, USED + 2
    ...[0x75, 0xf4], // jne 1b
  ]
  const code = [
    ...register(mmio.VIRTIO_MMIO_STATUS, 1),
    ...register(mmio.VIRTIO_MMIO_STATUS, 3),
    ...register(mmio.VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1),
    ...register(mmio.VIRTIO_MMIO_DRIVER_FEATURES, 1), // VIRTIO_F_VERSION_1
    ...register(mmio.VIRTIO_MMIO_STATUS, 11),
    ...register(mmio.VIRTIO_MMIO_QUEUE_SEL, queue),
    ...register(mmio.VIRTIO_MMIO_QUEUE_NUM, RING),
    ...register(mmio.VIRTIO_MMIO_QUEUE_DESC_LOW, DESCRIPTORS),
    ...register(mmio.VIRTIO_MMIO_QUEUE_AVAIL_LOW, AVAILABLE),
    ...register(mmio.VIRTIO_MMIO_QUEUE_USED_LOW, USED),
    ...register(mmio.VIRTIO_MMIO_QUEUE_READY, 1),
    ...register(mmio.VIRTIO_MMIO_STATUS, 15),
    ...again,
    ...[0xe9, ...dword(-(again.length + 5))], // jmp again
  ]
  return guest(code, (view) => {
    let descriptor = 0
    let address = BUFFERS
    const heads = chains.map((buffers) => {
      const head = descriptor
      buffers.forEach(({ length, writable = false }, i) => {
        const at = DESCRIPTORS - CODE + 16 * descriptor
        const more = i + 1 < buffers.length
        view.setUint32(at, address, true)
        view.setUint32(at + 8, length, true)
        view.setUint16(at + 12, (more ? 1 : 0) | (writable ? 2 : 0), true)
        view.setUint16(at + 14, ++descriptor, true)
        address += (length + 15) & ~15
      })
      return head
    })
    for (let i = 0; i < RING; i++) {
      view.setUint16(AVAILABLE - CODE + 4 + 2 * i, heads[i % heads.length]!, true)
    }
  })
}

/** Reads `length` bytes from the start of its disk, one request at a time. */
export const readingGuest = (length: number) =>
  ringGuest(0, [[{ length: 16 }, { length, writable: true }, { length: 1, writable: true }]])

/** Sends frames of 1514 bytes, sixteen at a time. */
export const sendingGuest = () => ringGuest(1, Array(RING).fill([{ length: 12 + 1514 }]))
