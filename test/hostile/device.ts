import { expect } from 'vitest'
import {
  VIRTIO_CONFIG_S_NEEDS_RESET,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_VERSION_1,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
} from '../../lib/devices/virtio/abi.js'
import * as mmio from '../../lib/devices/virtio/transport/virtio-mmio.js'
import { until } from '../helpers/virtio-driver.js'
import { type Bench, type DeviceName, windowOf } from './bench.js'
import { Ring, script } from './ring.js'
import { type MemoryWidth, Script } from './script.js'

const ACKNOWLEDGE = 1
const DRIVER = 3
const FEATURES_OK = 11
export const DRIVER_OK = 15
const USUAL_FEATURES = [VIRTIO_F_VERSION_1, VIRTIO_F_INDIRECT_DESC]

/** A buffer of a chain. */
export interface Buffer {
  readonly address: number | bigint
  readonly length: number
  readonly write?: boolean
}

/** A driver for one device of a bench, which can be told to break every rule. */
export class Device {
  readonly window: number

  constructor(
    readonly bench: Bench,
    readonly name: DeviceName,
  ) {
    this.window = windowOf(name)
  }

  set(register: number, value: number | bigint, width: MemoryWidth = 4): Script {
    return new Script().store(this.window + register, width, value)
  }

  get(register: number, width: MemoryWidth = 4): Script {
    return new Script().load(this.window + register, width)
  }

  async read(register: number, width: MemoryWidth = 4): Promise<number> {
    const [value] = await this.bench.run(this.get(register, width))
    return Number(value)
  }

  status(): Promise<number> {
    return this.read(mmio.VIRTIO_MMIO_STATUS)
  }

  write(register: number, value: number | bigint, width: MemoryWidth = 4): Promise<unknown> {
    return this.bench.run(this.set(register, value, width))
  }

  kick(queue = 0): Script {
    return this.set(mmio.VIRTIO_MMIO_QUEUE_NOTIFY, queue)
  }

  /** Resets the device and waits until it has been. */
  async reset(): Promise<void> {
    await this.write(mmio.VIRTIO_MMIO_STATUS, 0)
    while ((await this.status()) !== 0);
  }

  /** From a reset up to FEATURES_OK. */
  async negotiate(features: readonly number[] = USUAL_FEATURES): Promise<void> {
    await this.reset()
    const bits = features.reduce((sum, bit) => sum | (1n << BigInt(bit)), 0n)
    await this.bench.run(
      script(
        this.set(mmio.VIRTIO_MMIO_STATUS, ACKNOWLEDGE),
        this.set(mmio.VIRTIO_MMIO_STATUS, DRIVER),
        ...[0, 1].flatMap((word) => [
          this.set(mmio.VIRTIO_MMIO_DRIVER_FEATURES_SEL, word),
          this.set(mmio.VIRTIO_MMIO_DRIVER_FEATURES, (bits >> BigInt(32 * word)) & 0xffff_ffffn),
        ]),
        this.set(mmio.VIRTIO_MMIO_STATUS, FEATURES_OK),
      ),
    )
  }

  /** Writes a queue's registers, whatever they are, and empties its rings where they are in memory. */
  place(ring: Ring): Script {
    const address = (register: number, value: number | bigint) =>
      script(
        this.set(register, BigInt(value) & 0xffff_ffffn),
        this.set(register + 4, BigInt(value) >> 32n),
      )
    return script(
      this.set(mmio.VIRTIO_MMIO_QUEUE_SEL, ring.index),
      this.set(mmio.VIRTIO_MMIO_QUEUE_NUM, ring.size),
      address(mmio.VIRTIO_MMIO_QUEUE_DESC_LOW, ring.descriptorArea),
      address(mmio.VIRTIO_MMIO_QUEUE_AVAIL_LOW, ring.driverArea),
      address(mmio.VIRTIO_MMIO_QUEUE_USED_LOW, ring.deviceArea),
      this.set(mmio.VIRTIO_MMIO_QUEUE_READY, 1),
    )
  }

  driverOk(): Script {
    return this.set(mmio.VIRTIO_MMIO_STATUS, DRIVER_OK)
  }

  /** All of initialization, with `queues` queues of 16. */
  async start(
    features: readonly number[] = USUAL_FEATURES,
    queues = 1,
    size = 16,
  ): Promise<Ring[]> {
    await this.negotiate(features)
    const rings = Array.from({ length: queues }, (_, index) => new Ring(index, size))
    for (const ring of rings) {
      for (const area of [ring.descriptorArea, ring.driverArea, ring.deviceArea])
        this.bench.memory.fill(Number(area), 0x4000)
      await this.bench.run(this.place(ring))
    }
    await this.bench.run(this.driverOk())
    return rings
  }

  /** Offers the chain of `buffers`, its descriptors from the first on, and kicks. */
  submit(ring: Ring, buffers: readonly Buffer[], first = 0): Script {
    return script(
      ...buffers.map(({ address, length, write }, i) => {
        const last = i === buffers.length - 1
        const flags = (write ? VIRTQ_DESC_F_WRITE : 0) | (last ? 0 : VIRTQ_DESC_F_NEXT)
        return ring.descriptor(first + i, address, length, flags, last ? 0 : first + i + 1)
      }),
      ring.offer(first),
      this.kick(ring.index),
    )
  }

  /** How many buffers the device has used. */
  used(ring: Ring): number {
    return this.bench.memory.dataView(Number(ring.deviceArea) + 2, 2).getUint16(0, true)
  }

  async waitUsed(ring: Ring, count = ring.offered): Promise<void> {
    await until(() => this.used(ring) === count, `${count} used buffers`)
  }

  /** The device has stopped, has told so, and does nothing more until it is reset. */
  async expectNeedsReset(ring?: Ring, told = 1): Promise<void> {
    await until(() => this.bench.warnings.length >= told, 'a warning')
    expect(await this.status()).toSatisfy(
      (status: number) => (status & VIRTIO_CONFIG_S_NEEDS_RESET) !== 0,
    )
    const cause = await this.read(mmio.VIRTIO_MMIO_INTERRUPT_STATUS)
    expect(cause & mmio.VIRTIO_MMIO_INT_CONFIG).toBe(mmio.VIRTIO_MMIO_INT_CONFIG)
    const before = ring && this.used(ring)
    await this.bench.run(script(this.kick(), this.kick()))
    await this.read(mmio.VIRTIO_MMIO_STATUS)
    if (ring) expect(this.used(ring)).toBe(before)
    expect(this.bench.warnings).toHaveLength(told)
  }

  /** The device goes on as if nothing had been. */
  async expectRunning(): Promise<void> {
    expect((await this.status()) & VIRTIO_CONFIG_S_NEEDS_RESET).toBe(0)
    expect(this.bench.warnings).toEqual([])
  }
}
