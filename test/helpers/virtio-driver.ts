import {
  hasFeature,
  VIRTIO_CONFIG_S_ACKNOWLEDGE,
  VIRTIO_CONFIG_S_DRIVER,
  VIRTIO_CONFIG_S_DRIVER_OK,
  VIRTIO_CONFIG_S_FEATURES_OK,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_VERSION_1,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
} from '../../lib/devices/virtio/abi.js'
import * as mmio from '../../lib/devices/virtio/transport/virtio-mmio.js'
import type { IrqLine } from '../../lib/interrupt/irq-line.js'
import type { GuestMemory } from '../../lib/memory/guest-memory.js'
import { PATIENCE } from './process-state.js'

/** A line that counts its pulses. */
export class CountingIrq implements IrqLine {
  readonly gsi = 5
  pulses = 0
  /** The driver's handler. */
  handler: (() => void) | undefined
  assert(): void {}
  deassert(): void {}
  pulse(): void {
    this.pulses++
    this.handler?.()
  }
}

export interface Segment {
  address: number | bigint
  length: number
  writable?: boolean
}

/** Hands out guest memory, upwards from an address. */
export class Allocator {
  #next: number
  constructor(start: number) {
    this.#next = start
  }
  take(bytes: number, alignment = 16): number {
    const at = Math.ceil(this.#next / alignment) * alignment
    this.#next = at + bytes
    return at
  }
}

/** The guest's side of a split virtqueue, in the way of a driver that does what the specification says. */
export class DriverQueue {
  readonly index: number
  readonly size: number
  readonly descriptorArea: number
  readonly driverArea: number
  readonly deviceArea: number
  readonly #memory: GuestMemory
  readonly #free: number[]
  readonly #chains = new Map<number, number[]>()
  availIdx = 0
  usedIdx = 0
  /** With VIRTIO_F_IN_ORDER: the chains in flight, as an entry that skips some is taken to have used them. */
  inOrder = false
  #order: { id: number; length: number }[] = []
  /** Used entries that were read: with VIRTIO_F_IN_ORDER fewer than chains. */
  entriesRead = 0

  constructor(memory: GuestMemory, allocator: Allocator, index: number, size: number) {
    this.#memory = memory
    this.index = index
    this.size = size
    this.descriptorArea = allocator.take(16 * size, 16)
    this.driverArea = allocator.take(6 + 2 * size, 2)
    this.deviceArea = allocator.take(6 + 8 * size, 4)
    this.#free = Array.from({ length: size }, (_, i) => size - 1 - i)
    this.clear()
  }

  /** Descriptors that no chain of ours takes up. */
  get freeCount(): number {
    return this.#free.length
  }

  clear(): void {
    this.#memory.fill(this.descriptorArea, 16 * this.size)
    this.#memory.fill(this.driverArea, 6 + 2 * this.size)
    this.#memory.fill(this.deviceArea, 6 + 8 * this.size)
  }

  /** Writes one descriptor as it is told: rules are the caller's to keep or break. */
  setDescriptor(
    index: number,
    address: number | bigint,
    length: number,
    flags: number,
    next = 0,
  ): void {
    this.writeDescriptorAt(this.descriptorArea + 16 * index, address, length, flags, next)
  }

  writeDescriptorAt(
    at: number,
    address: number | bigint,
    length: number,
    flags: number,
    next = 0,
  ): void {
    const view = this.#memory.dataView(at, 16)
    view.setBigUint64(0, BigInt(address), true)
    view.setUint32(8, length, true)
    view.setUint16(12, flags, true)
    view.setUint16(14, next, true)
  }

  /** Puts a head into the available ring; the device sees it at `publish`. */
  offer(head: number): void {
    this.#memory
      .dataView(this.driverArea + 4 + 2 * (this.availIdx % this.size), 2)
      .setUint16(0, head, true)
    this.availIdx = (this.availIdx + 1) & 0xffff
  }

  publish(idx = this.availIdx): void {
    this.#memory.dataView(this.driverArea + 2, 2).setUint16(0, idx & 0xffff, true)
  }

  /** Builds a chain of direct descriptors and offers it. */
  add(segments: readonly Segment[]): number {
    const taken = segments.map(() => {
      const descriptor = this.#free.pop()
      if (descriptor === undefined) throw new Error('no free descriptor')
      return descriptor
    })
    segments.forEach(({ address, length, writable }, i) => {
      const last = i === segments.length - 1
      const flags = (writable ? VIRTQ_DESC_F_WRITE : 0) | (last ? 0 : VIRTQ_DESC_F_NEXT)
      this.setDescriptor(taken[i]!, address, length, flags, last ? 0 : taken[i + 1]!)
    })
    const head = taken[0]!
    this.#chains.set(head, taken)
    if (this.inOrder) this.#order.push({ id: head, length: writableLength(segments) })
    this.offer(head)
    this.publish()
    return head
  }

  /** The same in an indirect table at `table`, which needs 16 bytes for each segment. */
  addIndirect(table: number, segments: readonly Segment[]): number {
    segments.forEach(({ address, length, writable }, i) => {
      const last = i === segments.length - 1
      const flags = (writable ? VIRTQ_DESC_F_WRITE : 0) | (last ? 0 : VIRTQ_DESC_F_NEXT)
      this.writeDescriptorAt(table + 16 * i, address, length, flags, last ? 0 : i + 1)
    })
    const head = this.#free.pop()
    if (head === undefined) throw new Error('no free descriptor')
    this.setDescriptor(head, table, 16 * segments.length, VIRTQ_DESC_F_INDIRECT)
    this.#chains.set(head, [head])
    if (this.inOrder) this.#order.push({ id: head, length: writableLength(segments) })
    this.offer(head)
    this.publish()
    return head
  }

  /** What the device says it has used. */
  get deviceUsedIdx(): number {
    return this.#memory.dataView(this.deviceArea + 2, 2).getUint16(0, true)
  }

  get usedFlags(): number {
    return this.#memory.dataView(this.deviceArea, 2).getUint16(0, true)
  }

  get availEvent(): number {
    return this.#memory.dataView(this.deviceArea + 4 + 8 * this.size, 2).getUint16(0, true)
  }

  set availFlags(flags: number) {
    this.#memory.dataView(this.driverArea, 2).setUint16(0, flags, true)
  }

  set usedEvent(idx: number) {
    this.#memory.dataView(this.driverArea + 4 + 2 * this.size, 2).setUint16(0, idx, true)
  }

  /** Takes what the device has used since the last call. */
  used(): { id: number; length: number }[] {
    const entries: { id: number; length: number }[] = []
    const end = this.deviceUsedIdx
    while (this.usedIdx !== end) {
      const view = this.#memory.dataView(this.deviceArea + 4 + 8 * (this.usedIdx % this.size), 8)
      const id = view.getUint32(0, true)
      this.entriesRead++
      const batch = [...this.#skippedBy(id), { id, length: view.getUint32(4, true) }]
      this.usedIdx = (this.usedIdx + batch.length) & 0xffff
      entries.push(...batch)
    }
    for (const { id } of entries) {
      for (const descriptor of this.#chains.get(id) ?? []) this.#free.push(descriptor)
      this.#chains.delete(id)
    }
    return entries
  }

  #skippedBy(id: number): { id: number; length: number }[] {
    if (!this.inOrder) return []
    const at = this.#order.findIndex((chain) => chain.id === id)
    if (at < 0) throw new Error(`chain ${id} was used, which is not in flight`)
    return this.#order.splice(0, at + 1).slice(0, -1)
  }
}

export function writableLength(segments: readonly Segment[]): number {
  return segments.reduce((sum, { length, writable }) => sum + (writable ? length : 0), 0)
}

/** The guest's side of a virtio-mmio device. */
export class MmioDriver {
  readonly transport: mmio.VirtioMmioTransport
  readonly memory: GuestMemory
  readonly allocator: Allocator
  readonly queues: DriverQueue[] = []
  features = 0n

  constructor(transport: mmio.VirtioMmioTransport, memory: GuestMemory, heap = 0x10000) {
    this.transport = transport
    this.memory = memory
    this.allocator = new Allocator(heap)
  }

  read(register: number): number {
    return this.transport.read(register, 4)
  }

  write(register: number, value: number): void {
    this.transport.write(register, 4, value)
  }

  get status(): number {
    return this.read(mmio.VIRTIO_MMIO_STATUS)
  }

  set status(value: number) {
    this.write(mmio.VIRTIO_MMIO_STATUS, value)
  }

  get deviceFeatures(): bigint {
    this.write(mmio.VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0)
    const low = BigInt(this.read(mmio.VIRTIO_MMIO_DEVICE_FEATURES))
    this.write(mmio.VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1)
    return low | (BigInt(this.read(mmio.VIRTIO_MMIO_DEVICE_FEATURES)) << 32n)
  }

  writeFeatures(features: bigint): void {
    for (const select of [0, 1]) {
      this.write(mmio.VIRTIO_MMIO_DRIVER_FEATURES_SEL, select)
      this.write(
        mmio.VIRTIO_MMIO_DRIVER_FEATURES,
        Number((features >> BigInt(32 * select)) & 0xffff_ffffn),
      )
    }
  }

  /** Up to FEATURES_OK, with those of `wanted` that are offered, and VERSION_1. */
  negotiate(wanted: readonly number[] = []): void {
    this.status = 0
    this.status = VIRTIO_CONFIG_S_ACKNOWLEDGE
    this.status = this.status | VIRTIO_CONFIG_S_DRIVER
    const set = [VIRTIO_F_VERSION_1, ...wanted].reduce(
      (bits, bit) => bits | (1n << BigInt(bit)),
      0n,
    )
    this.features = set & this.deviceFeatures
    this.writeFeatures(this.features)
    this.status = this.status | VIRTIO_CONFIG_S_FEATURES_OK
  }

  setUpQueue(index: number, size: number): DriverQueue {
    const queue = new DriverQueue(this.memory, this.allocator, index, size)
    queue.inOrder = hasFeature(this.features, VIRTIO_F_IN_ORDER)
    this.placeQueue(index, size, queue.descriptorArea, queue.driverArea, queue.deviceArea)
    this.queues[index] = queue
    return queue
  }

  placeQueue(
    index: number,
    size: number,
    descriptorArea: number | bigint,
    driverArea: number | bigint,
    deviceArea: number | bigint,
  ): void {
    this.write(mmio.VIRTIO_MMIO_QUEUE_SEL, index)
    this.write(mmio.VIRTIO_MMIO_QUEUE_NUM, size)
    const address = (low: number, value: number | bigint) => {
      this.write(low, Number(BigInt(value) & 0xffff_ffffn))
      this.write(low + 4, Number((BigInt(value) >> 32n) & 0xffff_ffffn))
    }
    address(mmio.VIRTIO_MMIO_QUEUE_DESC_LOW, descriptorArea)
    address(mmio.VIRTIO_MMIO_QUEUE_AVAIL_LOW, driverArea)
    address(mmio.VIRTIO_MMIO_QUEUE_USED_LOW, deviceArea)
    this.write(mmio.VIRTIO_MMIO_QUEUE_READY, 1)
  }

  /** Asks for the reset of one queue; `true` while it is not done. */
  resetQueue(index: number): boolean {
    this.write(mmio.VIRTIO_MMIO_QUEUE_SEL, index)
    this.write(mmio.VIRTIO_MMIO_QUEUE_RESET, 1)
    return this.queueResetting(index)
  }

  queueResetting(index: number): boolean {
    this.write(mmio.VIRTIO_MMIO_QUEUE_SEL, index)
    return this.read(mmio.VIRTIO_MMIO_QUEUE_RESET) === 1
  }

  driverOk(): void {
    this.status = this.status | VIRTIO_CONFIG_S_DRIVER_OK
  }

  /** The whole of initialization, with every queue of `size`, or as large as it can be. */
  start(wanted: readonly number[] = [], size = 16): DriverQueue[] {
    this.negotiate(wanted)
    for (let i = 0; i < this.transport.queueCount; i++) {
      this.write(mmio.VIRTIO_MMIO_QUEUE_SEL, i)
      this.setUpQueue(i, Math.min(size, this.read(mmio.VIRTIO_MMIO_QUEUE_NUM_MAX)))
    }
    this.driverOk()
    return this.queues
  }

  kick(index: number): void {
    this.write(mmio.VIRTIO_MMIO_QUEUE_NOTIFY, index)
  }
}

/** Gives the event loop `turns` turns. */
export async function turns(count = 1): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve))
}

/** Waits for `condition`; the limit only ends a test that has failed. */
export async function until(condition: () => boolean, what = 'condition'): Promise<void> {
  const end = performance.now() + PATIENCE
  while (!condition()) {
    if (performance.now() > end) throw new Error(`${what}: not within ${PATIENCE} ms`)
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}
