import type { NetBackend, NetChannel } from '../../../backends/net/net-backend.js'
import type { GuestMemory } from '../../../memory/guest-memory.js'
import { type FeatureBits, featureBits, VIRTIO_ID_NET } from '../abi.js'
import type { DescriptorChain } from '../queue/descriptor-chain.js'
import { checkQueueSize } from '../queue/queue-size.js'
import { CHAIN_BUDGET, drainQueue, type QueueService, type Virtqueue } from '../queue/virtqueue.js'
import { type RateLimit, RateLimiter } from '../rate-limiter.js'
import type { DeviceContext, VirtioDevice } from '../virtio-device.js'
import {
  CONFIG_MAC,
  CONFIG_MTU,
  CONFIG_SIZE,
  CONFIG_STATUS,
  FRAME_SIZE_MAX,
  RECEIVE_QUEUE,
  TRANSMIT_QUEUE,
  VIRTIO_NET_F_MAC,
  VIRTIO_NET_F_MRG_RXBUF,
  VIRTIO_NET_F_MTU,
  VIRTIO_NET_F_STATUS,
  VIRTIO_NET_HEADER_SIZE,
  VIRTIO_NET_S_LINK_UP,
} from './abi.js'
import { agreement, offloadFeatures } from './offload-features.js'

export interface VirtioNetOptions {
  /** For logs and errors: `'net'` unless told. */
  name?: string
  /** Entries of each queue, a power of two from 4 to 1024: 256 unless told. */
  queueSize?: number
  /** For frames that the guest sends: no limit unless told. */
  transmitLimit?: RateLimit
  /** For frames to the guest: no limit unless told. What is over it waits in the backend, or is lost there. */
  receiveLimit?: RateLimit
}

/** What a network device has done. */
export interface VirtioNetCounters {
  txFrames: number
  /** Chains that were no frames, and frames that the backend refused. */
  txDropped: number
  rxBuffers: number
  rxBytes: number
  /** Buffers that could hold no frame. */
  rxDropped: number
}

/** A virtio network device (virtio 1.2, section 5.1) in front of a {@link NetBackend} that is open. */
export class VirtioNet implements VirtioDevice {
  readonly name: string
  readonly deviceId = VIRTIO_ID_NET
  readonly features: FeatureBits
  readonly queueSizes: readonly number[]
  readonly config: Uint8Array
  readonly counters: VirtioNetCounters = {
    txFrames: 0,
    txDropped: 0,
    rxBuffers: 0,
    rxBytes: 0,
    rxDropped: 0,
  }

  readonly #backend: NetBackend
  #channel!: NetChannel
  #context: DeviceContext | undefined
  readonly #transmitLimiter: RateLimiter | undefined
  readonly #receiveLimiter: RateLimiter | undefined
  #transmitService: QueueService | undefined
  #receiveQueue: Virtqueue | undefined
  #transmitQueue: Virtqueue | undefined

  /** @throws VmmError `ERR_INVALID_OPTION` */
  constructor(backend: NetBackend, options: VirtioNetOptions = {}) {
    const { name = 'net' } = options
    const queueSize = checkQueueSize('queueSize', options.queueSize ?? 256)
    this.name = name
    this.#backend = backend
    this.#transmitLimiter = limiter('transmitLimit', options.transmitLimit)
    this.#receiveLimiter = limiter('receiveLimit', options.receiveLimit)
    this.queueSizes = [queueSize, queueSize]
    this.features =
      offloadFeatures(backend) |
      featureBits(VIRTIO_NET_F_MAC, VIRTIO_NET_F_STATUS, VIRTIO_NET_F_MRG_RXBUF) |
      (backend.mtu === undefined ? 0n : featureBits(VIRTIO_NET_F_MTU))
    this.config = netConfig(backend)
  }

  attach(memory: GuestMemory): void {
    this.#channel = this.#backend.attach({
      memory,
      tags: this.queueSizes[0]!,
      segments: this.queueSizes[0]!,
      transmitted: (tag, error) => this.#transmitted(tag, error),
      received: (tag, length) => this.#received(tag, length),
      readable: () => {
        this.#refill()
      },
      completed: () => this.#completed(),
      failed: (error) => this.#context?.fail(error),
    })
  }

  activate(context: DeviceContext): void {
    this.#context = context
    this.#receiveQueue = context.queues[RECEIVE_QUEUE]
    this.#transmitQueue = context.queues[TRANSMIT_QUEUE]
    this.#transmitService = this.#transmitQueue && this.#service(context, this.#transmitQueue)
    this.#channel.agree(agreement(context.features))
  }

  notify(queueIndex: number): boolean {
    if (queueIndex === RECEIVE_QUEUE) return this.#refill()
    const queue = this.#transmitQueue
    const service = this.#transmitService
    return queue !== undefined && service !== undefined && drainQueue(queue, service)
  }

  reset(): void {
    this.#context = undefined
    this.#receiveQueue = undefined
    this.#transmitQueue = undefined
    this.#transmitService = undefined
    this.#transmitLimiter?.cancel()
    this.#receiveLimiter?.cancel()
    this.#channel.hold(false)
    this.#channel.reset()
  }

  close(): Promise<void> {
    return this.#channel.close()
  }

  #service(context: DeviceContext, queue: Virtqueue): QueueService {
    const limiter = this.#transmitLimiter
    const service = {
      handle: (chain: DescriptorChain) => this.#send(queue, chain),
      submit: () => this.#channel.transmit(),
    }
    if (limiter === undefined) return service
    return { ...service, admit: () => limiter.admit(() => context.schedule(TRANSMIT_QUEUE)) }
  }

  #send(queue: Virtqueue, chain: DescriptorChain): void {
    const length = chain.readableLength - VIRTIO_NET_HEADER_SIZE
    if (length <= 0 || length > FRAME_SIZE_MAX) {
      this.counters.txDropped++
      queue.push(chain.id, 0)
      return
    }
    this.#transmitLimiter?.spend(length)
    this.#channel.frame(chain.id)
    for (let i = 0; i < chain.readableCount; i++)
      this.#channel.segment(chain.addresses[i]!, chain.lengths[i]!)
  }

  #transmitted(tag: number, error: number): void {
    if (error === 0) this.counters.txFrames++
    else this.counters.txDropped++
    this.#transmitQueue?.push(tag, 0)
  }

  /**
   * Posts every buffer that the driver has made available. Kicks are asked for only once there is none left:
   * until then each arriving frame brings us here.
   */
  #refill(): boolean {
    const queue = this.#receiveQueue
    if (queue === undefined || queue.stopped || this.#context?.memory.closed !== false) return false
    let budget = CHAIN_BUDGET
    do {
      queue.disableNotifications()
      for (let chain = queue.pop(); chain; chain = budget > 0 ? queue.pop() : undefined) {
        this.#post(queue, chain)
        budget--
      }
      this.#channel.post()
    } while (budget > 0 && this.#channel.posted === 0 && queue.enableNotifications())
    queue.publish()
    return budget === 0
  }

  #post(queue: Virtqueue, chain: DescriptorChain): void {
    if (chain.writableLength === 0) {
      this.counters.rxDropped++
      queue.push(chain.id, 0)
      return
    }
    this.#channel.buffer(chain.id)
    for (let i = chain.readableCount; i < chain.count; i++) {
      this.#channel.segment(chain.addresses[i]!, chain.lengths[i]!)
    }
  }

  #received(tag: number, length: number): void {
    if (length === 0) this.counters.rxDropped++
    else this.counters.rxBuffers++
    this.counters.rxBytes += length
    if (length > 0) this.#receiveLimiter?.spend(length)
    this.#receiveQueue?.push(tag, length)
  }

  #completed(): void {
    const queue = this.#receiveQueue
    if (queue === undefined || this.#context?.memory.closed !== false) return
    queue.publish()
    const admitted = this.#receiveLimiter?.admit(() => this.#channel.hold(false)) ?? true
    this.#channel.hold(!admitted)
    if (this.#channel.posted === 0) this.#context.schedule(RECEIVE_QUEUE)
  }
}

function limiter(option: string, limit: RateLimit | undefined): RateLimiter | undefined {
  return limit && new RateLimiter(option, limit)
}

function netConfig(backend: NetBackend): Uint8Array {
  const bytes = new Uint8Array(CONFIG_SIZE)
  const view = new DataView(bytes.buffer)
  bytes.set(
    backend.mac.split(':').map((byte) => Number.parseInt(byte, 16)),
    CONFIG_MAC,
  )
  view.setUint16(CONFIG_STATUS, VIRTIO_NET_S_LINK_UP, true)
  view.setUint16(CONFIG_MTU, backend.mtu ?? 0, true)
  return bytes
}
