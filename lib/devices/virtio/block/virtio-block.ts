import type { BlockBackend, BlockChannel } from '../../../backends/block/block-backend.js'
import type { GuestMemory } from '../../../memory/guest-memory.js'
import { type FeatureBits, featureBits, hasFeature, VIRTIO_ID_BLOCK } from '../abi.js'
import type { DescriptorChain } from '../queue/descriptor-chain.js'
import { GuestAccess } from '../queue/guest-access.js'
import { drainQueue, type Virtqueue } from '../queue/virtqueue.js'
import type { DeviceContext, VirtioDevice } from '../virtio-device.js'
import {
  SECTOR_SIZE,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_RO,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_ID_BYTES,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_UNSUPP,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_GET_ID,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
} from './abi.js'
import { blockConfig } from './block-config.js'
import { BlockRequest, dataSegmentCount, forEachDataSegment } from './block-request.js'

export interface VirtioBlockOptions {
  /** For logs and errors: `'block'` unless told. */
  name?: string
  /** Entries of each queue, a power of two from 4 to 1024: 256 unless told. */
  queueSize?: number
}

/** What a block device has done. */
export interface VirtioBlockCounters {
  reads: number
  writes: number
  flushes: number
  /** Requests answered with VIRTIO_BLK_S_IOERR or _UNSUPP. */
  errors: number
  /** Chains that were no requests: no header, or no status to write. */
  dropped: number
}

/** A virtio block device (virtio 1.2, section 5.2) in front of a {@link BlockBackend} that is open. */
export class VirtioBlock implements VirtioDevice {
  readonly name: string
  readonly deviceId = VIRTIO_ID_BLOCK
  readonly features: FeatureBits
  readonly queueSizes: readonly number[]
  readonly config: Uint8Array
  readonly counters: VirtioBlockCounters = {
    reads: 0,
    writes: 0,
    flushes: 0,
    errors: 0,
    dropped: 0,
  }

  readonly #backend: BlockBackend
  readonly #segmentsMax: number
  readonly #request = new BlockRequest()
  #access!: GuestAccess
  #channel!: BlockChannel
  #context: DeviceContext | undefined
  #durable = false
  /** By tag: where the status goes, and how many bytes a success writes before it. */
  readonly #statusAddresses: Float64Array
  readonly #dataWritten: Float64Array

  constructor(backend: BlockBackend, options: VirtioBlockOptions = {}) {
    const { name = 'block', queueSize = 256 } = options
    this.name = name
    this.#backend = backend
    this.#segmentsMax = queueSize - 2 // a chain holds a header and a status too
    this.queueSizes = [queueSize]
    this.features = featureBits(
      VIRTIO_BLK_F_SEG_MAX,
      VIRTIO_BLK_F_FLUSH,
      ...(backend.readOnly ? [VIRTIO_BLK_F_RO] : []),
    )
    this.config = blockConfig({ capacity: backend.capacity, segmentsMax: this.#segmentsMax })
    const tags = queueSize
    this.#statusAddresses = new Float64Array(tags)
    this.#dataWritten = new Float64Array(tags)
  }

  /** What moves the disk's data: `'io_uring'`, `'threads'`, `'js'`. */
  get engine(): string {
    return this.#channel.engine
  }

  attach(memory: GuestMemory): void {
    this.#access = new GuestAccess(memory)
    this.#channel = this.#backend.attach({
      memory,
      tags: this.#statusAddresses.length,
      segments: this.#segmentsMax,
      complete: (tag, error) => this.#complete(tag, error),
      completed: () => this.#publish(),
      resized: () => {},
      failed: (error) => this.#context?.fail(error),
    })
  }

  activate(context: DeviceContext): void {
    this.#context = context
    // 5.2.6.2: a driver that cannot flush must not have to.
    this.#durable = !hasFeature(context.features, VIRTIO_BLK_F_FLUSH)
  }

  notify(queueIndex: number): boolean {
    const queue = this.#context?.queues[queueIndex]
    if (queue === undefined) return false
    return drainQueue(
      queue,
      (chain) => this.#handle(queue, chain),
      () => this.#channel.submit(),
    )
  }

  reset(): void | Promise<void> {
    this.#context = undefined
    if (this.#channel.inFlight > 0) return this.#channel.drain()
  }

  async close(): Promise<void> {
    await this.#channel.close()
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
    const tag = chain.id
    this.#statusAddresses[tag] = statusAddress
    this.#dataWritten[tag] = 0
    const status = this.#begin(chain, tag)
    if (status !== undefined) this.#finish(queue, tag, status)
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
      default:
        return VIRTIO_BLK_S_UNSUPP
    }
  }

  /** Whether data of `length` bytes is whole sectors inside the disk, in no more segments than announced. */
  #inRange(chain: DescriptorChain, length: number, into: boolean): boolean {
    const { capacity } = this.#backend
    return (
      length > 0 &&
      length % SECTOR_SIZE === 0 &&
      length <= capacity &&
      this.#request.offset <= capacity - length &&
      (chain.count <= this.#segmentsMax || dataSegmentCount(chain, into) <= this.#segmentsMax)
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
    const queue = this.#context?.queues[0]
    if (queue !== undefined)
      this.#finish(queue, tag, error === 0 ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR)
  }

  #finish(queue: Virtqueue, tag: number, status: number): void {
    const address = this.#statusAddresses[tag]!
    const region = this.#access.find(address, 1)
    if (region !== undefined) region.u8[address - region.guestAddress] = status
    if (status !== VIRTIO_BLK_S_OK) this.counters.errors++
    // After an error nothing is promised about the bytes before the status.
    queue.push(tag, status === VIRTIO_BLK_S_OK ? this.#dataWritten[tag]! + 1 : 1)
  }

  #publish(): void {
    const context = this.#context
    if (context === undefined || context.memory.closed) return
    for (const queue of context.queues) queue?.publish()
  }
}
