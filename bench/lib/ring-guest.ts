import { BOOT_CS } from '../../lib/arch/x86-64/gdt.js'
import {
  COM1_PORT,
  VIRTIO_MMIO_GSIS,
  VIRTIO_MMIO_START,
  VIRTIO_MMIO_STRIDE,
} from '../../lib/arch/x86-64/layout.js'
import * as mmio from '../../lib/devices/virtio/transport/virtio-mmio.js'
import type { VirtualMachineOptions } from '../../lib/index.js'
import { le32 } from '../../lib/util/bits.js'

// Guests of a few instructions, which need no kernel and so run on any KVM: in 64-bit mode, at this address.
const CODE = 0x10_0000
/** The interrupt table and its descriptor. */
const GATES = CODE + 0x1000
const STACK = CODE + 0x3000
/** For each device its descriptors, rings and buffers. */
const RINGS = CODE + 0x1_0000
const RING_STRIDE = 0x4_0000
const IMAGE_SIZE = RINGS - CODE + 2 * RING_STRIDE
const RING = 16

/** movl $value, address */
const store = (address: number, value: number) => [
  ...[0xbb, ...le32(address)], // mov $address, %ebx
  ...[0xc7, 0x03, ...le32(value)], // movl $value, (%rbx)
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
  ...[0xba, ...le32(COM1_PORT)], // mov $COM1_PORT, %edx
  ...[0xb0, 0x21, 0xee], // mov $'!', %al; out %al, (%dx)
  ...[0xf4, 0xeb, 0xfd], // 1: hlt; jmp 1b
])

/** Reads a port over and over: in $port, %al; jmp to it. */
export const portGuest = (port: number) => guest([0xe4, port, 0xeb, 0xfc])

interface Buffer {
  readonly length: number
  readonly writable?: boolean
}

/** A queue of a virtio device, and the buffers of each chain that the guest offers on it. */
interface Ring {
  readonly slot: number
  readonly queue: number
  readonly chains: readonly (readonly Buffer[])[]
}

const register = ({ slot }: Ring, offset: number, value: number) =>
  store(VIRTIO_MMIO_START + slot * VIRTIO_MMIO_STRIDE + offset, value)
const placeOf = ({ slot }: Ring) => {
  const at = RINGS + slot * RING_STRIDE
  return { descriptors: at, available: at + 0x400, used: at + 0x800, buffers: at + 0x1000 }
}

/** Sets up a ring as a driver does. */
const begin = (ring: Ring) => {
  const { descriptors, available, used } = placeOf(ring)
  return [
    ...register(ring, mmio.VIRTIO_MMIO_STATUS, 1),
    ...register(ring, mmio.VIRTIO_MMIO_STATUS, 3),
    ...register(ring, mmio.VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1),
    ...register(ring, mmio.VIRTIO_MMIO_DRIVER_FEATURES, 1), // VIRTIO_F_VERSION_1
    ...register(ring, mmio.VIRTIO_MMIO_STATUS, 11),
    ...register(ring, mmio.VIRTIO_MMIO_QUEUE_SEL, ring.queue),
    ...register(ring, mmio.VIRTIO_MMIO_QUEUE_NUM, RING),
    ...register(ring, mmio.VIRTIO_MMIO_QUEUE_DESC_LOW, descriptors),
    ...register(ring, mmio.VIRTIO_MMIO_QUEUE_AVAIL_LOW, available),
    ...register(ring, mmio.VIRTIO_MMIO_QUEUE_USED_LOW, used),
    ...register(ring, mmio.VIRTIO_MMIO_QUEUE_READY, 1),
    ...register(ring, mmio.VIRTIO_MMIO_STATUS, 15),
  ]
}

/** Offers all chains of a ring, and kicks. */
const offer = (ring: Ring) => [
  ...[0x66, 0x83, 0x04, 0x25, ...le32(placeOf(ring).available + 2), ring.chains.length], // addw $chains, index
  ...register(ring, mmio.VIRTIO_MMIO_QUEUE_NOTIFY, ring.queue),
]

/** Compares what was offered with what is used: equal when all of it is. */
const compare = (ring: Ring) => [
  ...[0x66, 0x8b, 0x04, 0x25, ...le32(placeOf(ring).available + 2)], // mov index of the available ring, %ax
  ...[0x66, 0x39, 0x04, 0x25, ...le32(placeOf(ring).used + 2)], // cmp %ax, index of the used ring
]

function writeRing(view: DataView, ring: Ring): void {
  const place = placeOf(ring)
  let descriptor = 0
  let address = place.buffers
  const heads = ring.chains.map((buffers) => {
    const head = descriptor
    buffers.forEach(({ length, writable = false }, i) => {
      const at = place.descriptors - CODE + 16 * descriptor
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
    view.setUint16(place.available - CODE + 4 + 2 * i, heads[i % heads.length]!, true)
  }
}

const readChain = (length: number): readonly Buffer[] => [
  { length: 16 },
  { length, writable: true },
  { length: 1, writable: true },
]
const FRAME_CHAIN: readonly Buffer[] = [{ length: 12 + 1514 }]

/** Offers the chains of a ring over and over: all of them, a kick, and when they are used all of them again. */
function ringGuest(queue: number, chains: Ring['chains']) {
  const ring = { slot: 0, queue, chains }
  const wait = [...compare(ring), 0x75, -(compare(ring).length + 4)] // jne to the pause
  const again = [...offer(ring), 0xf3, 0x90, ...wait] // pause
  const code = [...begin(ring), ...again, 0xe9, ...le32(-(again.length + 5))] // jmp again
  return guest(code, (view) => writeRing(view, ring))
}

/** Reads `length` bytes from the start of its disk, one request at a time. */
export const readingGuest = (length: number) => ringGuest(0, [readChain(length)])

/** Sends frames of 1514 bytes, sixteen at a time. */
export const sendingGuest = () => ringGuest(1, Array(RING).fill(FRAME_CHAIN))

const outb = (port: number, value: number) => [0xb0, value, 0xe6, port] // mov $value, %al; out %al, $port

/** The first vector of a PC's interrupts. */
const VECTORS = 0x20

/** The interrupt controllers of a PC, ending interrupts by themselves, with these lines open. */
const controllers = (lines: readonly number[]) => {
  const mask = lines.reduce((bits, line) => bits & ~(1 << line), 0xffff & ~(1 << 2))
  return [
    ...[...outb(0x20, 0x11), ...outb(0x21, VECTORS), ...outb(0x21, 4), ...outb(0x21, 3)],
    ...[...outb(0xa0, 0x11), ...outb(0xa1, VECTORS + 8), ...outb(0xa1, 2), ...outb(0xa1, 3)],
    ...[...outb(0x21, mask & 0xff), ...outb(0xa1, mask >> 8)],
  ]
}

/**
 * Reads 4 KiB from its disk and sends a frame of 1514 bytes by its card, both together, and halts until both are done;
 * then again. Its disk is to be its first device, its card the second.
 */
export function diskAndNetGuest() {
  const rings: readonly Ring[] = [
    { slot: 0, queue: 0, chains: [readChain(4096)] },
    { slot: 1, queue: 1, chains: [FRAME_CHAIN] },
  ]
  const lines = rings.map(({ slot }) => VIRTIO_MMIO_GSIS[slot]!)
  const offers = rings.flatMap(offer)
  const sleep = [0xfb, 0xf4] // sti; hlt
  // While one of them is not used: back to the sleep.
  const looks = (from: number) => {
    const first = compare(rings[0]!)
    const second = compare(rings[1]!)
    const jump = (at: number) => [0x0f, 0x85, ...le32(-(at + 6))] // jne to the sleep
    const one = from + first.length
    const two = one + 6 + second.length
    return [...first, ...jump(one), ...second, ...jump(two)]
  }
  const wait = [...sleep, 0xfa] // cli
  const tail = [...wait, ...looks(wait.length)]
  const loop = [...offers, ...tail]
  const handler = CODE + 0x800
  const code = [
    ...[0xbc, ...le32(STACK)], // mov $STACK, %esp
    ...[0x0f, 0x01, 0x1c, 0x25, ...le32(GATES)], // lidt GATES
    ...controllers(lines),
    ...rings.flatMap(begin),
    ...loop,
    ...[0xe9, ...le32(-(loop.length + 5))],
  ]
  return guest(code, (view) => {
    for (const ring of rings) writeRing(view, ring)
    view.setUint16(handler - CODE, 0x48cf) // iretq
    view.setUint16(GATES - CODE, 0xfff, true)
    view.setUint32(GATES - CODE + 2, GATES + 0x10, true)
    for (let vector = VECTORS; vector < VECTORS + 16; vector++) {
      const at = GATES - CODE + 0x10 + 16 * vector
      view.setUint16(at, handler & 0xffff, true)
      view.setUint16(at + 2, BOOT_CS, true)
      view.setUint16(at + 4, 0x8e00, true) // present, an interrupt gate
      view.setUint16(at + 6, handler >>> 16, true)
    }
  })
}
