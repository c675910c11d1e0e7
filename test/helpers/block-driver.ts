import type { BlockAttachment, BlockBackend } from '../../lib/backends/block/block-backend.js'
import { FileDisk, type FileDiskOptions } from '../../lib/backends/block/file-disk.js'
import {
  VirtioBlock,
  type VirtioBlockOptions,
} from '../../lib/devices/virtio/block/virtio-block.js'
import { VirtioMmioTransport } from '../../lib/devices/virtio/transport/virtio-mmio.js'
import type { GuestMemory } from '../../lib/memory/guest-memory.js'
import { CountingIrq, type DriverQueue, MmioDriver, type Segment, until } from './virtio-driver.js'

/** What attaches a disk to `memory` for one request at a time, and listens to nothing. */
export const idleAttachment = (memory: GuestMemory): BlockAttachment => ({
  ...{ memory, tags: 1, segments: 1 },
  ...{ complete() {}, completed() {}, resized() {}, failed() {} },
})

/** A guest's block driver and the device that it drives. */
export class BlockRig {
  readonly device: VirtioBlock
  readonly transport: VirtioMmioTransport
  readonly driver: MmioDriver
  readonly irq = new CountingIrq()
  readonly reasons: string[] = []
  readonly errors: Error[] = []

  constructor(
    readonly backend: BlockBackend,
    readonly memory: GuestMemory,
    options: VirtioBlockOptions = {},
  ) {
    this.device = new VirtioBlock(backend, options)
    this.transport = new VirtioMmioTransport(this.device, {
      memory,
      irq: this.irq,
      packed: true,
      inOrder: true,
      onNeedsReset: (reason) => this.reasons.push(reason),
      onError: (error) => this.errors.push(error),
    })
    this.driver = new MmioDriver(this.transport, memory)
  }

  get queue(): DriverQueue {
    return this.driver.queues[0]!
  }

  /** Writes a request header. */
  header(type: number, sector: number | bigint, at = this.driver.allocator.take(16)): number {
    const view = this.memory.dataView(at, 16)
    view.setUint32(0, type, true)
    view.setUint32(4, 0, true)
    view.setBigUint64(8, BigInt(sector), true)
    return at
  }

  /** Submits a request and waits for it. */
  async request(
    type: number,
    sector: number | bigint,
    data: readonly Segment[],
  ): Promise<{ status: number; length: number }> {
    const status = this.driver.allocator.take(1)
    this.memory.fill(status, 1, 0xee)
    const id = this.queue.add([
      { address: this.header(type, sector), length: 16 },
      ...data,
      { address: status, length: 1, writable: true },
    ])
    this.driver.kick(0)
    const used = await this.wait()
    if (used.id !== id) throw new Error(`used ${used.id}, not ${id}`)
    return { status: this.memory.read(status, 1)[0]!, length: used.length }
  }

  async wait(): Promise<{ id: number; length: number }> {
    await until(() => this.queue.deviceUsedIdx !== this.queue.usedIdx, 'a used buffer')
    return this.queue.used()[0]!
  }

  async close(): Promise<void> {
    await this.transport.close()
    await this.backend.close()
    this.memory.close()
  }

  static async file(
    path: string,
    memory: GuestMemory,
    options: FileDiskOptions = {},
    device: VirtioBlockOptions = {},
  ) {
    const disk = new FileDisk(path, options)
    await disk.open()
    return new BlockRig(disk, memory, device)
  }
}
