import type { DescriptorChain } from '../../lib/devices/virtio/queue/descriptor-chain.js'
import { drainQueue } from '../../lib/devices/virtio/queue/virtqueue.js'
import type { DeviceContext, VirtioDevice } from '../../lib/devices/virtio/virtio-device.js'

/** What one chain was, copied when it was taken. */
export interface SeenChain {
  id: number
  queue: number
  readable: [address: number, length: number][]
  writable: [address: number, length: number][]
}

/** A device that notes every chain, and gives it back at once or when it is told to. */
export class EchoDevice implements VirtioDevice {
  readonly name = 'echo0'
  readonly deviceId = 42
  readonly inOrder = true
  readonly features: bigint
  readonly queueSizes: readonly number[]
  readonly config = Uint8Array.from({ length: 24 }, (_, i) => 0x10 + i)
  readonly seen: SeenChain[] = []
  readonly configWrites: [offset: number, width: number, value: number][] = []
  context: DeviceContext | undefined
  activations = 0
  resets = 0
  notifications = 0
  closed = 0
  /** Chains are kept until `finish`. */
  hold = false
  /** Queues in the order in which they were reset, and activated again. */
  readonly queueResets: number[] = []
  readonly queueActivations: number[] = []
  /** What `reset` and `resetQueue` wait for. */
  draining: Promise<void> | undefined
  throwOnNotify = false

  constructor({
    features = 0n,
    queueSizes = [16],
  }: { features?: bigint; queueSizes?: number[] } = {}) {
    this.features = features
    this.queueSizes = queueSizes
  }

  writeConfig(offset: number, width: 1 | 2 | 4, value: number): void {
    this.configWrites.push([offset, width, value])
  }

  activate(context: DeviceContext): void {
    this.activations++
    this.context = context
  }

  notify(index: number): boolean {
    this.notifications++
    if (this.throwOnNotify) throw new Error('a fault in the device')
    const queue = this.context!.queues[index]!
    return drainQueue(queue, {
      handle: (chain) => {
        this.seen.push(copy(chain, index))
        if (!this.hold) queue.push(chain.id, chain.writableLength)
      },
      submit() {},
    })
  }

  finish(index: number, ids: readonly number[]): void {
    const queue = this.context?.queues[index]
    for (const id of ids) queue?.push(id, 0)
    queue?.publish()
  }

  resetQueue(index: number): void | Promise<void> {
    this.queueResets.push(index)
    return this.draining
  }

  activateQueue(index: number): void {
    this.queueActivations.push(index)
  }

  reset(): void | Promise<void> {
    this.resets++
    this.context = undefined
    return this.draining
  }

  async close(): Promise<void> {
    this.closed++
  }
}

function copy(chain: DescriptorChain, queue: number): SeenChain {
  const segments = Array.from({ length: chain.count }, (_, i): [number, number] => [
    chain.addresses[i]!,
    chain.lengths[i]!,
  ])
  return {
    id: chain.id,
    queue,
    readable: segments.slice(0, chain.readableCount),
    writable: segments.slice(chain.readableCount),
  }
}
