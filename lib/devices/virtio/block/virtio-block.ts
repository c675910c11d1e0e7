import type { BlockBackend, BlockChannel } from '../../../backends/block/block-backend.js'
import { invalidOption } from '../../../errors.js'
import type { GuestMemory } from '../../../memory/guest-memory.js'
import { type RequestMessage, requestChannel } from '../../../util/diagnostics.js'
import { type FeatureBits, hasFeature, VIRTIO_ID_BLOCK } from '../abi.js'
import type { DescriptorChain } from '../queue/descriptor-chain.js'
import { GuestAccess } from '../queue/guest-access.js'
import { checkCount, checkQueueSize } from '../queue/queue-size.js'
import { RingPoller } from '../queue/ring-poller.js'
import { drainQueue, type QueueService, type Virtqueue } from '../queue/virtqueue.js'
import { type RateLimit, RateLimiter, setRateLimits } from '../rate-limiter.js'
import type { DeviceContext, VirtioDevice } from '../virtio-device.js'
import {
  CONFIG_WRITEBACK,
  SECTOR_SIZE,
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_WRITE_ZEROES,
  VIRTIO_BLK_ID_BYTES,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_UNSUPP,
  VIRTIO_BLK_T_DISCARD,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_GET_ID,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_BLK_T_WRITE_ZEROES,
} from './abi.js'
import { blockConfig, blockFeatures, SEGMENT_SIZE_MAX, setCapacity } from './block-config.js'
import { BlockRequest, dataSegmentsFit, forEachDataSegment } from './block-request.js'
import { RangeRequest } from './range-request.js'

/** What {@link VirtioBlock} takes. */
export interface VirtioBlockOptions {
  /** For logs and errors: `'block'` unless told. */
  name?: string
  /** Entries of each queue, a power of two from 4 to 1024: 256 unless told. */
  queueSize?: number
  /** Request queues, 1 to 16: 1 unless told. More help a guest with several vCPUs. */
  queues?: number
  /** No limit unless told. */
  rateLimit?: RateLimit
  /**
   * Let the transport offer VIRTIO_F_IN_ORDER. A request that takes long then holds back the answers to all after it in
   * its queue. `false` unless told.
   */
  inOrder?: boolean
  /**
   * How long at least to look for the guest's next request before waiting for its kick, where that has paid before: 0
   * (never) to 1000 microseconds. 20 unless told. Where a request takes longer than an eighth of it to serve, as in an
   * emulator, eight times as long as that, but not longer than 1000 microseconds.
   */
  pollMicroseconds?: number
}

/** Limits to be set while a device runs: what is left out stays as it is, `null` is no limit. */
export interface BlockLimitChange {
  /** `null` takes the limit away. */
  rateLimit?: RateLimit | null
}

/** What a block device has done. */
export interface VirtioBlockCounters {
  /** Requests to read. */
  reads: number
  /** Requests to write. */
  writes: number
  /** Requests to write what is in caches. */
  flushes: number
  /** Requests to give ranges back. */
  discards: number
  /** Requests answered with VIRTIO_BLK_S_IOERR or _UNSUPP. */
  errors: number
  /** Chains that were no requests: no header, or no status to write. */
  dropped: number
}

/** A virtio block device (virtio 1.2, section 5.2) in front of a {@link BlockBackend} that is open. */
export class VirtioBlock implements VirtioDevice {
  readonly name: string
  readonly inOrder: boolean
  readonly deviceId = VIRTIO_ID_BLOCK
  readonly features: FeatureBits
  readonly queueSizes: readonly number[]
  readonly config: Uint8Array
  /** Since it was made. */
  readonly counters: VirtioBlockCounters = {
    reads: 0,
    writes: 0,
    flushes: 0,
    discards: 0,
    errors: 0,
    dropped: 0,
  }

  readonly #backend: BlockBackend
  readonly #queueSize: number
  readonly #segmentsMax: number
  readonly #request = new BlockRequest()
  readonly #range = new RangeRequest()
  readonly #limiter: RateLimiter
  readonly #pollMicroseconds: number
  #access!: GuestAccess
  #channel!: BlockChannel
  #context: DeviceContext | undefined
  readonly #services: (QueueService | undefined)[] = []
  /** By queue: requests that the backend has, and who waits for the last of them. */
  readonly #inFlight: Uint32Array
  readonly #drained: ((() => void) | undefined)[] = []
  /** Writes are done only when they would survive a power cut. */
  #durable = false
  #mayDiscard = false
  #mayWriteZeroes = false
  /** By tag, which is queue index × queue size + chain: where the status goes, and how many bytes a success writes before it. */
  readonly #statusAddresses: Float64Array
  readonly #dataWritten: Float64Array

  /** @throws VmmError `ERR_INVALID_OPTION` */
  constructor(backend: BlockBackend, options: VirtioBlockOptions = {}) {
    const { name = 'block' } = options
    const queueSize = checkQueueSize('queueSize', options.queueSize ?? 256)
    const queues = checkCount('queues', options.queues ?? 1, 16)
    this.name = name
    this.inOrder = options.inOrder ?? false
    this.#backend = backend
    this.#limiter = new RateLimiter('rateLimit', options.rateLimit)
    this.#queueSize = queueSize
    this.#segmentsMax = queueSize - 2 // a chain holds a header and a status too
    const poll = options.pollMicroseconds ?? 20
    if (!(poll >= 0 && poll <= 1000))
      throw invalidOption('pollMicroseconds', poll, 'a number from 0 to 1000')
    this.#pollMicroseconds = poll
    this.queueSizes = Array(queues).fill(queueSize)
    const limits = { backend, queues, segmentsMax: this.#segmentsMax }
    this.features = blockFeatures(limits)
    this.config = blockConfig(limits)
    this.#inFlight = new Uint32Array(queues)
    this.#statusAddresses = new Float64Array(queues * queueSize)
    this.#dataWritten = new Float64Array(queues * queueSize)
  }

  /** What moves the disk's data: `'io_uring'`, `'threads'`, `'js'`. */
  get engine(): string {
    return this.#channel.engine
  }

  /**
   * Changes the limit that {@link VirtioBlockOptions.rateLimit} has set, at once.
   * @throws VmmError `ERR_INVALID_OPTION`, and nothing has changed
   * @example `vm.disks[0].setLimits({ rateLimit: { operations: { perSecond: 1000 } } })`
   */
  setLimits(limits: BlockLimitChange): void {
    setRateLimits({ rateLimit: this.#limiter }, limits)
  }

  attach(memory: GuestMemory): void {
    this.#access = new GuestAccess(memory)
    this.#channel = this.#backend.attach({
      memory,
      tags: this.#statusAddresses.length,
      segments: this.#segmentsMax,
      complete: (tag, error) => this.#complete(tag, error),
      completed: () => this.#publish(),
      resized: () => this.#resized(),
      failed: (error) => this.#context?.fail(error),
    })
  }

  activate(context: DeviceContext): void {
    this.#context = context
    const { features, queues } = context
    for (const index of queues.keys()) this.activateQueue(index)
    this.#mayDiscard = hasFeature(features, VIRTIO_BLK_F_DISCARD)
    this.#mayWriteZeroes = hasFeature(features, VIRTIO_BLK_F_WRITE_ZEROES)
    this.#chooseCacheMode()
  }

  /** The writeback field is the one that a driver may change (5.2.5.1). */
  writeConfig(offset: number, width: number, value: number): void {
    const context = this.#context
    if (offset !== CONFIG_WRITEBACK || width !== 1 || value > 1 || context === undefined) return
    if (!hasFeature(context.features, VIRTIO_BLK_F_CONFIG_WCE)) return
    this.config[CONFIG_WRITEBACK] = value
    this.#chooseCacheMode()
  }

  notify(queueIndex: number): boolean {
    const queue = this.#context?.queues[queueIndex]
    const service = this.#services[queueIndex]
    return queue !== undefined && service !== undefined && drainQueue(queue, service)
  }

  activateQueue(index: number): void {
    const context = this.#context
    const queue = context?.queues[index]
    this.#services[index] = context && queue && this.#service(context, queue)
  }

  resetQueue(index: number): void | Promise<void> {
    this.#services[index] = undefined
    if (this.#inFlight[index] === 0) return
    return new Promise((resolve) => {
      this.#drained[index] = resolve
    })
  }

  reset(): void | Promise<void> {
    this.#context = undefined
    this.#services.length = 0
    this.#limiter.cancel()
    this.config[CONFIG_WRITEBACK] = 1
    if (this.#channel.inFlight > 0) return this.#channel.drain()
  }

  async close(): Promise<void> {
    await this.#channel.close()
  }

  #service(context: DeviceContext, queue: Virtqueue): QueueService {
    // Whichever queue had to wait, all may have something to go on with.
    const resume = () => {
      for (const waiting of context.queues) if (waiting) context.schedule(waiting.index)
    }
    return {
      admit: () => this.#limiter.admit(resume),
      handle: (chain: DescriptorChain) => this.#handle(queue, chain),
      submit: () => this.#channel.submit(),
      poller: new RingPoller(this.#pollMicroseconds),
    }
  }

  #handle(queue: Virtqueue, chain: DescriptorChain): void {
    if (!this.#request.parse(chain)) {
      this.#drop(queue, chain)
      return
    }
    const statusAddress = chain.writableAddress(chain.writableLength - 1)
    if (this.#access.find(statusAddress, 1) === undefined) {
      this.#drop(queue, chain)
      return
    }
    this.#limiter.spend(chain.readableLength + chain.writableLength)
    const tag = queue.index * this.#queueSize + chain.id
    this.#statusAddresses[tag] = statusAddress
    this.#dataWritten[tag] = 0
    if (requestChannel.hasSubscribers) this.#publishBegin(tag)
    const status = this.#begin(chain, tag)
    if (status === undefined) this.#inFlight[queue.index]!++
    else this.#finish(queue, tag, status)
  }

  /** The status of a request that is done already, or `undefined` for one that the backend has begun. */
  #begin(chain: DescriptorChain, tag: number): number | undefined {
    const request = this.#request
    switch (request.type) {
      case VIRTIO_BLK_T_IN:
        if (!this.#inRange(chain, request.inLength, true)) return VIRTIO_BLK_S_IOERR
        this.counters.reads++
        this.#dataWritten[tag] = request.inLength
        this.#channel.read(tag, request.offset)
        forEachDataSegment(chain, true, this.#channel)
        return undefined
      case VIRTIO_BLK_T_OUT:
        if (this.#backend.readOnly || !this.#inRange(chain, request.outLength, false)) {
          return VIRTIO_BLK_S_IOERR
        }
        this.counters.writes++
        this.#channel.write(tag, request.offset, this.#durable)
        forEachDataSegment(chain, false, this.#channel)
        return undefined
      case VIRTIO_BLK_T_FLUSH:
        this.counters.flushes++
        this.#channel.flush(tag)
        return undefined
      case VIRTIO_BLK_T_GET_ID:
        return this.#writeId(chain, tag)
      case VIRTIO_BLK_T_DISCARD:
        return this.#mayDiscard ? this.#beginRange(chain, tag, false) : VIRTIO_BLK_S_UNSUPP
      case VIRTIO_BLK_T_WRITE_ZEROES:
        return this.#mayWriteZeroes ? this.#beginRange(chain, tag, true) : VIRTIO_BLK_S_UNSUPP
      default:
        return VIRTIO_BLK_S_UNSUPP
    }
  }

  #beginRange(chain: DescriptorChain, tag: number, zero: boolean): number | undefined {
    const range = this.#range
    const status = range.parse(chain, this.#backend.capacity, zero)
    if (status !== VIRTIO_BLK_S_OK) return status
    this.counters.discards++
    if (zero) this.#channel.writeZeroes(tag, range.offset, range.length, range.unmap)
    else this.#channel.discard(tag, range.offset, range.length)
    return undefined
  }

  /** Whether data of `length` bytes is whole sectors inside the disk, in such segments as were announced. */
  #inRange(chain: DescriptorChain, length: number, into: boolean): boolean {
    const { capacity } = this.#backend
    return (
      length > 0 &&
      length % SECTOR_SIZE === 0 &&
      length <= capacity &&
      this.#request.offset <= capacity - length &&
      dataSegmentsFit(chain, into, this.#segmentsMax, SEGMENT_SIZE_MAX)
    )
  }

  #writeId(chain: DescriptorChain, tag: number): number {
    if (chain.writableLength - 1 < VIRTIO_BLK_ID_BYTES) return VIRTIO_BLK_S_IOERR
    const id = new Uint8Array(VIRTIO_BLK_ID_BYTES)
    new TextEncoder().encodeInto(this.#backend.id, id)
    if (!chain.write(0, id)) return VIRTIO_BLK_S_IOERR
    this.#dataWritten[tag] = VIRTIO_BLK_ID_BYTES
    return VIRTIO_BLK_S_OK
  }

  #drop(queue: Virtqueue, chain: DescriptorChain): void {
    this.counters.dropped++
    queue.push(chain.id, 0)
  }

  #complete(tag: number, error: number): void {
    const index = Math.floor(tag / this.#queueSize)
    const queue = this.#context?.queues[index]
    if (--this.#inFlight[index]! === 0) {
      this.#drained[index]?.()
      this.#drained[index] = undefined
    }
    if (queue !== undefined)
      this.#finish(queue, tag, error === 0 ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR)
  }

  #publishBegin(tag: number): void {
    const { type, offset, inLength, outLength } = this.#request
    const length = type === VIRTIO_BLK_T_OUT ? outLength : inLength
    const message = { phase: 'begin', device: this.name, tag, type, offset, length } as const
    requestChannel.publish({ ...message, time: performance.now() } satisfies RequestMessage)
  }

  #publishEnd(tag: number, status: number): void {
    const message = { phase: 'end', device: this.name, tag, status } as const
    requestChannel.publish({ ...message, time: performance.now() } satisfies RequestMessage)
  }

  #finish(queue: Virtqueue, tag: number, status: number): void {
    if (requestChannel.hasSubscribers) this.#publishEnd(tag, status)
    const address = this.#statusAddresses[tag]!
    const region = this.#access.find(address, 1)
    if (region !== undefined) region.u8[address - region.guestAddress] = status
    if (status !== VIRTIO_BLK_S_OK) this.counters.errors++
    // After an error nothing is promised about the bytes before the status.
    queue.push(
      tag - queue.index * this.#queueSize,
      status === VIRTIO_BLK_S_OK ? this.#dataWritten[tag]! + 1 : 1,
    )
  }

  /** 5.2.6.2: a driver that cannot flush must not have to; one that can choose has the writeback field. */
  #chooseCacheMode(): void {
    const features = this.#context?.features ?? 0n
    if (hasFeature(features, VIRTIO_BLK_F_CONFIG_WCE))
      this.#durable = this.config[CONFIG_WRITEBACK] === 0
    else this.#durable = !hasFeature(features, VIRTIO_BLK_F_FLUSH)
  }

  #resized(): void {
    setCapacity(this.config, this.#backend.capacity)
    this.#context?.configChanged()
  }

  #publish(): void {
    const context = this.#context
    if (context === undefined || context.memory.closed) return
    for (const queue of context.queues) queue?.publish()
  }
}
