import { VirtioMmioTransport } from '../../lib/devices/virtio/transport/virtio-mmio.js'
import type { GuestMemory } from '../../lib/memory/guest-memory.js'
import { EchoDevice } from './echo-device.js'
import { plainMemory } from './guest-memories.js'
import { CountingIrq, MmioDriver } from './virtio-driver.js'

export const RAM = 0x100000

/** An echo device behind virtio-mmio, and its driver, in 1 MiB of plain memory at 0 and 64 KiB at 16 MiB. */
export class EchoRig {
  readonly irq = new CountingIrq()
  readonly reasons: string[] = []
  readonly errors: Error[] = []
  readonly transport: VirtioMmioTransport
  readonly driver: MmioDriver

  constructor(
    readonly device = new EchoDevice(),
    readonly memory: GuestMemory = plainMemory([0, RAM], [0x1000000, 0x10000]),
    packed = false,
    inOrder = false,
  ) {
    this.transport = new VirtioMmioTransport(device, {
      memory,
      irq: this.irq,
      packed,
      inOrder,
      onNeedsReset: (reason) => this.reasons.push(reason),
      onError: (error) => this.errors.push(error),
    })
    this.driver = new MmioDriver(this.transport, memory)
  }

  get queue() {
    return this.driver.queues[0]!
  }
}
