import { randomFillSync } from 'node:crypto'
import { VIRTIO_ID_RNG } from '../abi.js'
import type { DescriptorChain } from '../queue/descriptor-chain.js'
import { drainQueue, type Virtqueue } from '../queue/virtqueue.js'
import { type RateLimit, RateLimiter } from '../rate-limiter.js'
import type { DeviceContext, VirtioDevice } from '../virtio-device.js'

/** Bytes that one request gets at most: the driver asks again for more (virtio 1.2, 5.4.6). */
const REQUEST_MAX = 4096

/** What {@link VirtioRng} takes. */
export interface VirtioRngOptions {
  /** For logs and errors: `'rng'` unless told. */
  name?: string
  /** No limit unless told. */
  rateLimit?: RateLimit
}

/** A virtio entropy device (virtio 1.2, section 5.4): the host's random numbers. */
export class VirtioRng implements VirtioDevice {
  readonly name: string
  readonly inOrder = true
  readonly deviceId = VIRTIO_ID_RNG
  readonly features = 0n
  readonly queueSizes = [64]
  readonly config = new Uint8Array(0)
  /** Requests served, bytes given, chains with no room in guest memory. */
  readonly counters = { requests: 0, bytes: 0, dropped: 0 }
  readonly #limiter: RateLimiter
  readonly #bytes = new Uint8Array(REQUEST_MAX)
  #context: DeviceContext | undefined

  /** @throws VmmError `ERR_INVALID_OPTION` */
  constructor(options: VirtioRngOptions = {}) {
    this.name = options.name ?? 'rng'
    this.#limiter = new RateLimiter('rateLimit', options.rateLimit)
  }

  activate(context: DeviceContext): void {
    this.#context = context
  }

  notify(queueIndex: number): boolean {
    const context = this.#context
    const queue = context?.queues[queueIndex]
    if (context === undefined || queue === undefined) return false
    return drainQueue(queue, {
      admit: () => this.#limiter.admit(() => context.schedule(queueIndex)),
      handle: (chain) => this.#fill(queue, chain),
      submit() {},
    })
  }

  /** No chain outlasts `notify`. */
  resetQueue(): void {}

  reset(): void {
    this.#context = undefined
    this.#limiter.cancel()
  }

  async close(): Promise<void> {}

  #fill(queue: Virtqueue, chain: DescriptorChain): void {
    const bytes = this.#bytes.subarray(0, Math.min(chain.writableLength, REQUEST_MAX))
    randomFillSync(bytes)
    const done = bytes.length > 0 && chain.write(0, bytes)
    if (done) {
      this.counters.requests++
      this.counters.bytes += bytes.length
    } else {
      this.counters.dropped++
    }
    this.#limiter.spend(bytes.length)
    queue.push(chain.id, done ? bytes.length : 0)
  }
}
