import { PackedVirtqueue } from '../../lib/devices/virtio/queue/packed-virtqueue.js'
import { SplitVirtqueue } from '../../lib/devices/virtio/queue/split-virtqueue.js'
import {
  CHAIN_BUDGET,
  DESCRIPTOR_BUDGET,
  type Virtqueue,
} from '../../lib/devices/virtio/queue/virtqueue.js'

interface Work {
  chains: number
  descriptors: number
}

/** Descriptors of the last chain of a turn: an indirect table of any device here. */
const LAST_CHAIN_MAX = 1024

/** Counts what is taken off each queue in one turn of the event loop: the work that a guest can have done in it. */
export class TurnMeter {
  #turn: Map<Virtqueue, Work> | undefined
  #worst: Work = { chains: 0, descriptors: 0 }
  readonly #restore: (() => void)[] = []

  constructor() {
    for (const { prototype } of [SplitVirtqueue, PackedVirtqueue]) {
      const pop = prototype.pop
      const meter = this
      prototype.pop = function (this: SplitVirtqueue & PackedVirtqueue) {
        const chain = pop.call(this)
        if (chain) meter.#count(this, chain.count)
        return chain
      }
      this.#restore.push(() => {
        prototype.pop = pop
      })
    }
  }

  /** The most that was taken off a queue in a turn since the last call. */
  take(): Work {
    const worst = this.#worst
    this.#worst = { chains: 0, descriptors: 0 }
    return worst
  }

  /** What of that is more than a turn may have. */
  static excess({ chains, descriptors }: Work): Partial<Work> {
    return {
      ...(chains > CHAIN_BUDGET && { chains }),
      ...(descriptors > DESCRIPTOR_BUDGET + LAST_CHAIN_MAX && { descriptors }),
    }
  }

  close(): void {
    for (const restore of this.#restore) restore()
  }

  #count(queue: Virtqueue, descriptors: number): void {
    if (!this.#turn) {
      this.#turn = new Map()
      setImmediate(() => {
        this.#turn = undefined
      })
    }
    const work = this.#turn.get(queue) ?? { chains: 0, descriptors: 0 }
    this.#turn.set(queue, work)
    work.chains++
    work.descriptors += descriptors + 1
    this.#worst.chains = Math.max(this.#worst.chains, work.chains)
    this.#worst.descriptors = Math.max(this.#worst.descriptors, work.descriptors)
  }
}
