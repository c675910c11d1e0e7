import type { NetBackend, NetChannel } from '../../../backends/net/net-backend.js'
import { asError } from '../../../errors.js'
import type { GuestMemory } from '../../../memory/guest-memory.js'
import type { DescriptorChain } from '../queue/descriptor-chain.js'
import { CHAIN_BUDGET, drainQueue, type QueueService, type Virtqueue } from '../queue/virtqueue.js'
import type { RateLimiter } from '../rate-limiter.js'
import type { DeviceContext } from '../virtio-device.js'
import { FRAME_SIZE_MAX, receiveQueue, transmitQueue, VIRTIO_NET_HEADER_SIZE } from './abi.js'
import { AnswerPoller } from './answer-poller.js'
import { ModeratedInterrupt } from './moderated-interrupt.js'
import type { VirtioNetCounters } from './virtio-net.js'

/** What the pairs of one device share. */
export interface PairOwner {
  readonly counters: VirtioNetCounters
  /** Whether frames go either way now. */
  linked(): boolean
  readonly transmitLimiter: RateLimiter
  readonly receiveLimiter: RateLimiter
  linkChanged(up: boolean): void
  /** The receive limiter lets frames in again: whichever pair had to wait, all may have some. */
  resumeReceiving(): void
}

/** A receive queue and a transmit queue, and the backend's channel that they pump frames from and to. */
export class QueuePair {
  readonly channel: NetChannel
  readonly #index: number
  readonly #owner: PairOwner
  #context: DeviceContext | undefined
  #receiveQueue: Virtqueue | undefined
  #transmitQueue: Virtqueue | undefined
  #transmitService: QueueService | undefined
  #transmitInterrupt: ModeratedInterrupt | undefined
  #answers: AnswerPoller | undefined
  /** The most receive buffers that we have had of the driver's at a time: all, in a driver that keeps its ring full. */
  #mostBuffers = 0

  constructor(
    index: number,
    backend: NetBackend,
    memory: GuestMemory,
    queueSize: number,
    owner: PairOwner,
  ) {
    this.#index = index
    this.#owner = owner
    this.channel = backend.attach({
      memory,
      pair: index,
      tags: queueSize,
      segments: queueSize,
      transmitted: (tag, error) => this.#transmitted(tag, error),
      received: (tag, length) => this.#received(tag, length),
      readable: () => {
        this.refill()
      },
      completed: () => this.#completed(),
      linkChanged: (up) => owner.linkChanged(up),
      failed: (error) => this.#context?.fail(error),
    })
  }

  /** Whether the driver has set up both queues. */
  get usable(): boolean {
    return this.#receiveQueue !== undefined && this.#transmitQueue !== undefined
  }

  activate(context: DeviceContext): void {
    this.#context = context
    this.#receiveQueue = context.queues[receiveQueue(this.#index)]
    this.#transmitQueue = context.queues[transmitQueue(this.#index)]
    const queue = this.#transmitQueue
    if (queue === undefined || this.#transmitService !== undefined) return
    this.#transmitInterrupt = new ModeratedInterrupt(queue)
    this.#transmitService = this.#service(context, queue, this.#transmitInterrupt)
    this.#answers = new AnswerPoller(queue)
  }

  /** The driver has reset one of the two queues. What it had sent is done with already. */
  resetQueue(receive: boolean): void {
    if (receive) {
      this.#receiveQueue = undefined
      this.#mostBuffers = 0
      this.channel.reset()
    } else {
      this.#transmitQueue = undefined
      this.#transmitService = undefined
      this.#transmitInterrupt?.stop()
      this.#transmitInterrupt = undefined
      this.#answers = undefined
    }
  }

  reset(): void {
    this.resetQueue(true)
    this.resetQueue(false)
    this.#context = undefined
    this.channel.hold(false)
    this.channel.filter?.(undefined)
  }

  /** Frames to the network. */
  transmit(): boolean {
    const queue = this.#transmitQueue
    const service = this.#transmitService
    return queue !== undefined && service !== undefined && drainQueue(queue, service)
  }

  /**
   * Posts every buffer that the driver has made available. Kicks are asked for only once there is none left, or too few
   * for the next frame: until then each arriving frame brings us here.
   */
  refill(): boolean {
    const queue = this.#receiveQueue
    if (queue === undefined || queue.stopped || this.#context?.memory.closed !== false) return false
    let budget = CHAIN_BUDGET
    do {
      queue.disableNotifications()
      for (let chain = queue.pop(); chain; chain = budget > 0 ? queue.pop() : undefined) {
        this.#post(queue, chain)
        budget--
      }
      this.channel.post()
    } while (budget > 0 && this.#wantsBuffers && queue.enableNotifications())
    this.#mostBuffers = Math.max(this.#mostBuffers, queue.inFlight)
    // 5.1.6.3.1 has drivers post enough for the longest frame; of one that has not, nothing is to be waited for.
    if (budget > 0 && this.channel.starved && queue.inFlight === this.#mostBuffers)
      this.channel.giveUp?.()
    queue.publish()
    return budget === 0
  }

  #service(context: DeviceContext, queue: Virtqueue, interrupt: ModeratedInterrupt): QueueService {
    // Whichever pair had to wait, all may have something to go on with.
    const resume = () => {
      for (let at = transmitQueue(0); at < context.queues.length; at += 2)
        if (context.queues[at]) context.schedule(at)
    }
    return {
      admit: () => this.#owner.transmitLimiter.admit(resume),
      handle: (chain: DescriptorChain) => this.#send(queue, chain, interrupt),
      submit: () => {
        this.channel.transmit()
        // Before the driver has its chains back: it waits for an answer, if for anything.
        this.channel.poll?.()
      },
      publish: () => interrupt.publish(),
    }
  }

  #lookForAnswer(context: DeviceContext): void {
    if (this.#context !== context || context.memory.closed) return
    try {
      if (this.#answers?.look() && this.transmit()) context.schedule(transmitQueue(this.#index))
    } catch (error) {
      context.fail(asError(error))
    }
  }

  #send(queue: Virtqueue, chain: DescriptorChain, interrupt: ModeratedInterrupt): void {
    const length = chain.readableLength - VIRTIO_NET_HEADER_SIZE
    interrupt.sent(length)
    if (length <= 0 || length > FRAME_SIZE_MAX || !this.#owner.linked()) {
      this.#owner.counters.txDropped++
      queue.push(chain.id, 0)
      return
    }
    this.#owner.transmitLimiter.spend(length)
    this.channel.frame(chain.id)
    for (let i = 0; i < chain.readableCount; i++)
      this.channel.segment(chain.addresses[i]!, chain.lengths[i]!)
  }

  #transmitted(tag: number, error: number): void {
    if (error === 0) this.#owner.counters.txFrames++
    else this.#owner.counters.txDropped++
    this.#transmitQueue?.push(tag, 0)
  }

  #post(queue: Virtqueue, chain: DescriptorChain): void {
    if (chain.writableLength === 0) {
      this.#owner.counters.rxDropped++
      queue.push(chain.id, 0)
      return
    }
    this.channel.buffer(chain.id)
    for (let i = chain.readableCount; i < chain.count; i++) {
      this.channel.segment(chain.addresses[i]!, chain.lengths[i]!)
    }
  }

  #received(tag: number, length: number): void {
    const { counters, receiveLimiter } = this.#owner
    if (length === 0) counters.rxDropped++
    else counters.rxBuffers++
    counters.rxBytes += length
    if (length > 0) receiveLimiter.spend(length)
    this.#answers?.received(length)
    this.#receiveQueue?.push(tag, length)
  }

  #completed(): void {
    const queue = this.#receiveQueue
    const context = this.#context
    if (queue === undefined || context?.memory.closed !== false) return
    if (this.#answers?.expect()) queueMicrotask(() => this.#lookForAnswer(context))
    queue.publish()
    const admitted = this.#owner.receiveLimiter.admit(this.#owner.resumeReceiving)
    this.channel.hold(!admitted)
    if (this.#wantsBuffers) context.schedule(receiveQueue(this.#index))
  }

  get #wantsBuffers(): boolean {
    return this.channel.posted === 0 || this.channel.starved === true
  }
}
