import { VirtioMmioTransport } from '../../lib/devices/virtio/transport/virtio-mmio.js'
import type { VirtioDevice } from '../../lib/devices/virtio/virtio-device.js'
import type { GuestMemory } from '../../lib/memory/guest-memory.js'
import { plainMemory } from './guest-memories.js'
import { CountingIrq, MmioDriver, until } from './virtio-driver.js'

/** Any device behind virtio-mmio, with its driver. */
export class DeviceRig<T extends VirtioDevice> {
  readonly irq = new CountingIrq()
  readonly reasons: string[] = []
  readonly errors: Error[] = []
  readonly transport: VirtioMmioTransport
  readonly driver: MmioDriver

  constructor(
    readonly device: T,
    readonly memory: GuestMemory = plainMemory([0, 0x200000]),
  ) {
    this.transport = new VirtioMmioTransport(device, {
      memory,
      irq: this.irq,
      onNeedsReset: (reason) => this.reasons.push(reason),
      onError: (error) => this.errors.push(error),
    })
    this.driver = new MmioDriver(this.transport, memory)
  }

  /** Sends bytes on a queue and waits until the device has taken them. */
  async send(queue: number, bytes: Uint8Array, at = 0x100000): Promise<void> {
    this.memory.write(at, bytes)
    const ring = this.driver.queues[queue]!
    ring.add([{ address: at, length: bytes.length }])
    this.driver.kick(queue)
    await until(() => ring.deviceUsedIdx === ring.availIdx, 'a send')
    ring.used()
  }

  /** Offers buffers for the device to fill. */
  offer(queue: number, count: number, length = 4096, base = 0x120000): void {
    const ring = this.driver.queues[queue]!
    for (let i = 0; i < count; i++) {
      const address = base + i * length
      this.#places.set(`${queue}:${ring.add([{ address, length, writable: true }])}`, address)
    }
    this.driver.kick(queue)
  }

  /** The next buffers that the device has filled. */
  async filled(queue: number): Promise<Uint8Array[]> {
    const ring = this.driver.queues[queue]!
    await until(() => ring.deviceUsedIdx !== ring.usedIdx, 'a filled buffer')
    return ring
      .used()
      .map(({ id, length }) => this.memory.read(this.#places.get(`${queue}:${id}`)!, length))
  }

  async close(): Promise<void> {
    await this.transport.close()
    this.memory.close()
  }

  readonly #places = new Map<string, number>()
}
