import type {
  NetAgreement,
  NetBackend,
  NetChannel,
  ReceiveFilter,
} from '../../../backends/net/net-backend.js'
import type { GuestMemory } from '../../../memory/guest-memory.js'
import type { DeviceContext } from '../virtio-device.js'
import { type PairOwner, QueuePair } from './queue-pair.js'
import { ServedPair } from './served-pair.js'

/** What {@link QueuePairs} are made of. */
export interface QueuePairsParts {
  readonly backend: NetBackend
  readonly count: number
  /** Entries of each queue. */
  readonly queueSize: number
  /** Whether the backend serves the rings, as far as it can. */
  readonly served: boolean
  readonly owner: Omit<PairOwner, 'resumeReceiving'>
}

/** The receive and transmit queues of one card (virtio 1.3, 5.1.2), and how many pairs of them the driver uses. */
export class QueuePairs {
  readonly count: number
  readonly #parts: QueuePairsParts
  #pairs: readonly (QueuePair | ServedPair)[] = []
  #inUse = 1

  constructor(parts: QueuePairsParts) {
    this.#parts = parts
    this.count = parts.count
  }

  /** From 1 to {@link count}: the first ones. */
  get inUse(): number {
    return this.#inUse
  }

  /** Attaches the backend's channels. Before that there are no pairs that anything could be done to. */
  attach(memory: GuestMemory): void {
    const { backend, count, queueSize, served } = this.#parts
    const owner: PairOwner = {
      ...this.#parts.owner,
      resumeReceiving: () => this.#each((channel) => channel.hold(false)),
    }
    this.#pairs = Array.from({ length: count }, (_, i) => {
      const pair = new QueuePair(i, backend, memory, queueSize, owner)
      const { rings } = pair.channel
      return served && rings ? new ServedPair(i, pair.channel, rings, owner.linked()) : pair
    })
    // A channel may have found the link down meanwhile.
    if (!owner.linked()) this.#each((channel) => channel.link?.(false))
  }

  /** The driver is ready, or has set up a queue of the pair again that it had reset. */
  activate(queueIndex: number, context: DeviceContext): void {
    this.#pairs[queueIndex >> 1]!.activate(context)
  }

  resetQueue(queueIndex: number): void {
    this.#pairs[queueIndex >> 1]?.resetQueue(queueIndex % 2 === 0)
  }

  /** @returns `true` if the turn's budget has left work */
  notify(queueIndex: number): boolean {
    const pair = this.#pairs[queueIndex >> 1]
    if (pair === undefined) return false
    return queueIndex % 2 === 0 ? pair.refill() : pair.transmit()
  }

  /**
   * Has the driver use the first `pairs`.
   * @returns `false`, and the number is as before, if it has not set them all up, or the backend refuses
   */
  use(pairs: number): boolean {
    if (pairs < 1 || pairs > this.count) return false
    if (!this.#pairs.slice(0, pairs).every(({ usable }) => usable)) return false
    return this.#enable(pairs)
  }

  /** What the driver and the device have agreed on. */
  agree(agreed: NetAgreement): void {
    this.#each((channel) => channel.agree(agreed))
  }

  /** The frames that the driver wants; all if `undefined`. */
  filter(filter: ReceiveFilter | undefined): void {
    this.#each((channel) => channel.filter?.(filter))
  }

  setLink(up: boolean): void {
    this.#each((channel) => channel.link?.(up))
    this.#setServed({ link: up })
  }

  setPaused(paused: boolean): void {
    this.#setServed({ paused })
  }

  reset(): void {
    this.#enable(1)
    for (const pair of this.#pairs) pair.reset()
  }

  async close(): Promise<void> {
    for (const { channel } of this.#pairs) await channel.close()
  }

  #enable(pairs: number): boolean {
    const done = this.#pairs.every(({ channel }, i) => i === 0 || channel.enable?.(i < pairs))
    if (!done) return false
    this.#inUse = pairs
    for (const [i, pair] of this.#pairs.entries())
      if (pair instanceof ServedPair) pair.set({ enabled: i < pairs })
    return true
  }

  #setServed(on: Parameters<ServedPair['set']>[0]): void {
    for (const pair of this.#pairs) if (pair instanceof ServedPair) pair.set(on)
  }

  #each(action: (channel: NetChannel) => void): void {
    for (const { channel } of this.#pairs) action(channel)
  }
}
