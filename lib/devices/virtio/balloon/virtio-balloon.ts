import { invalidOption } from '../../../errors.js'
import { type FeatureBits, featureBits, hasFeature, VIRTIO_ID_BALLOON } from '../abi.js'
import type { DescriptorChain } from '../queue/descriptor-chain.js'
import { drainQueue, type Virtqueue } from '../queue/virtqueue.js'
import type { DeviceContext, VirtioDevice } from '../virtio-device.js'
import * as abi from './abi.js'
import { forEachPageRun } from './page-runs.js'

/** What {@link VirtioBalloon} takes. */
export interface VirtioBalloonOptions {
  /** For logs and errors: `'balloon'` unless told. */
  name?: string
  /** Let the guest take memory back from the balloon when it would run out otherwise. `true` unless told. */
  deflateOnOom?: boolean
}

/** What the guest tells of its memory: what it knows, in bytes but for faults and allocations. */
export type BalloonStatistics = Partial<Record<(typeof abi.STATISTICS)[number], number>>

/** Page numbers of one chain that are looked at: four times what Linux sends. */
const CHAIN_PAGES = 1024
/** Pages, and reported ranges, handled in one turn of the event loop. */
const TURN_PAGES = 4096

type Role = 'inflate' | 'deflate' | 'statistics' | 'reporting'

/** A virtio memory balloon (virtio 1.2, section 5.5): takes memory from the guest for the host to use elsewhere. */
export class VirtioBalloon implements VirtioDevice {
  readonly name: string
  readonly inOrder = true
  readonly deviceId = VIRTIO_ID_BALLOON
  readonly features: FeatureBits
  readonly queueSizes = [128, 128, 16, 128]
  readonly config = new Uint8Array(abi.CONFIG_SIZE)
  /** Pages given back to the host, and page numbers and ranges that name no memory. */
  readonly counters = { discardedPages: 0, reportedPages: 0, dropped: 0 }

  readonly #config = new DataView(this.config.buffer)
  readonly #numbers = new Uint8Array(4 * CHAIN_PAGES)
  #context: DeviceContext | undefined
  /** By queue index: the driver leaves out the queues whose features it did not take, and the rest move up. */
  #roles: readonly Role[] = []
  #statisticsChain: number | undefined
  #waiting: ((statistics: BalloonStatistics) => void)[] = []
  #statistics: BalloonStatistics = {}
  #turnPages = 0

  constructor(options: VirtioBalloonOptions = {}) {
    this.name = options.name ?? 'balloon'
    this.features = featureBits(
      abi.VIRTIO_BALLOON_F_STATS_VQ,
      abi.VIRTIO_BALLOON_F_PAGE_REPORTING,
      ...((options.deflateOnOom ?? true) ? [abi.VIRTIO_BALLOON_F_DEFLATE_ON_OOM] : []),
    )
  }

  /** Bytes that the guest has put into the balloon, as it says. */
  get actual(): number {
    return this.#config.getUint32(abi.CONFIG_ACTUAL, true) * abi.BALLOON_PAGE
  }

  /** Bytes that the guest is asked to put into the balloon. */
  get target(): number {
    return this.#config.getUint32(abi.CONFIG_NUM_PAGES, true) * abi.BALLOON_PAGE
  }

  /**
   * Asks the guest for `bytes` in all, a multiple of 4096 below 2^44.
   * @throws VmmError `ERR_INVALID_OPTION`
   */
  set target(bytes: number) {
    checkBalloonTarget(bytes)
    this.#config.setUint32(abi.CONFIG_NUM_PAGES, bytes / abi.BALLOON_PAGE, true)
    this.#context?.configChanged()
  }

  /** Asks the guest for fresh statistics; without a driver that has them it gives the last ones known. */
  statistics(): Promise<BalloonStatistics> {
    const queue = this.#queueOf('statistics')
    const chain = this.#statisticsChain
    if (queue === undefined) return Promise.resolve(this.#statistics)
    return new Promise((resolve) => {
      this.#waiting.push(resolve)
      if (chain === undefined) return
      this.#statisticsChain = undefined
      queue.push(chain, 0)
      queue.publish()
    })
  }

  writeConfig(offset: number, width: number, value: number): void {
    if (offset === abi.CONFIG_ACTUAL && width === 4) this.#config.setUint32(offset, value, true)
  }

  activate(context: DeviceContext): void {
    this.#context = context
    const has = (bit: number) => hasFeature(context.features, bit)
    this.#roles = [
      'inflate',
      'deflate',
      ...(has(abi.VIRTIO_BALLOON_F_STATS_VQ) ? (['statistics'] as const) : []),
      ...(has(abi.VIRTIO_BALLOON_F_PAGE_REPORTING) ? (['reporting'] as const) : []),
    ]
  }

  notify(queueIndex: number): boolean {
    const queue = this.#context?.queues[queueIndex]
    if (queue === undefined) return false
    this.#turnPages = 0
    const spent = drainQueue(queue, {
      admit: () => this.#turnPages < TURN_PAGES,
      handle: (chain) => this.#handle(this.#roles[queueIndex], queue, chain),
      submit() {},
    })
    return spent || this.#turnPages >= TURN_PAGES
  }

  resetQueue(index: number): void {
    if (this.#roles[index] === 'statistics') this.#statisticsChain = undefined
  }

  reset(): void {
    this.#context = undefined
    this.#roles = []
    this.#statisticsChain = undefined
    this.#config.setUint32(abi.CONFIG_ACTUAL, 0, true)
    this.#answer()
  }

  async close(): Promise<void> {
    this.#answer()
  }

  #handle(role: Role | undefined, queue: Virtqueue, chain: DescriptorChain): void {
    if (role === 'statistics') {
      this.#takeStatistics(queue, chain)
      return
    }
    if (role === 'inflate') this.#inflate(chain)
    else if (role === 'reporting') this.#takeReport(chain)
    // A page that leaves the balloon comes back by itself when it is touched.
    queue.push(chain.id, 0)
  }

  #inflate(chain: DescriptorChain): void {
    const bytes = this.#numbers.subarray(
      0,
      Math.min(chain.readableLength & ~3, this.#numbers.length),
    )
    if (!chain.read(0, bytes)) {
      this.counters.dropped++
      return
    }
    const numbers = new Uint32Array(bytes.buffer, 0, bytes.length / 4)
    this.#turnPages += numbers.length
    forEachPageRun(numbers, (page, count) => {
      if (this.#discard(page * abi.BALLOON_PAGE, count * abi.BALLOON_PAGE))
        this.counters.discardedPages += count
    })
  }

  /** 5.5.6.7: each writable buffer is a range that the guest does not use. */
  #takeReport(chain: DescriptorChain): void {
    for (let i = chain.readableCount; i < chain.count; i++) {
      const length = chain.lengths[i]!
      this.#turnPages++
      if (this.#discard(chain.addresses[i]!, length))
        this.counters.reportedPages += length / abi.BALLOON_PAGE
    }
  }

  #discard(address: number, length: number): boolean {
    const region = this.#context?.memory.findRegion(address, length)
    const offset = region === undefined ? 1 : address - region.guestAddress
    if (
      region === undefined ||
      offset % abi.BALLOON_PAGE !== 0 ||
      length % abi.BALLOON_PAGE !== 0
    ) {
      this.counters.dropped++
      return false
    }
    region.discard?.(offset, length)
    return true
  }

  /** The driver's buffer stays with us until the next statistics are wanted. */
  #takeStatistics(queue: Virtqueue, chain: DescriptorChain): void {
    if (this.#statisticsChain !== undefined) queue.push(this.#statisticsChain, 0)
    this.#statisticsChain = chain.id
    const bytes = new Uint8Array(Math.min(chain.readableLength, 64 * abi.STATISTIC_SIZE))
    if (!chain.read(0, bytes)) {
      this.counters.dropped++
      return
    }
    const view = new DataView(bytes.buffer)
    this.#statistics = {}
    for (let at = 0; at + abi.STATISTIC_SIZE <= bytes.length; at += abi.STATISTIC_SIZE) {
      const name = abi.STATISTICS[view.getUint16(at, true)]
      if (name !== undefined) this.#statistics[name] = Number(view.getBigUint64(at + 2, true))
    }
    this.#answer()
  }

  #answer(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const resolve of waiting) resolve(this.#statistics)
  }

  #queueOf(role: Role): Virtqueue | undefined {
    return this.#context?.queues[this.#roles.indexOf(role)]
  }
}

/** @throws VmmError `ERR_INVALID_OPTION` for what {@link VirtioBalloon.target} cannot be */
export function checkBalloonTarget(bytes: number): void {
  const whole = Number.isInteger(bytes) && bytes % abi.BALLOON_PAGE === 0
  if (!whole || bytes < 0 || bytes >= 2 ** 44) {
    throw invalidOption('target', bytes, 'a multiple of 4096 bytes below 2^44')
  }
}
