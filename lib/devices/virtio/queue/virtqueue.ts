import type { DescriptorChain } from './descriptor-chain.js'
import type { RingPoller } from './ring-poller.js'

/**
 * One virtqueue from the device's end, whichever its layout. Belongs to one activation of one device.
 *
 * A ring that breaks the specification's rules breaks the queue: `pop` gives nothing more, nothing more is
 * published, and the device's status says DEVICE_NEEDS_RESET. No method throws for what a guest has written.
 */
export interface Virtqueue {
  /** Which of the device's, from 0 on. */
  readonly index: number
  /** Entries: what the driver chose. At most this many chains are in flight. */
  readonly size: number
  /** One more than the greatest {@link DescriptorChain.id}. */
  readonly idCount: number
  /** Chains taken by `pop` and not yet pushed. */
  readonly inFlight: number
  /** The ring broke a rule, or was given up by a reset. */
  readonly stopped: boolean
  /** Whether `pop` would find a chain now. */
  readonly available: boolean
  /**
   * Takes the next available chain. The object is the queue's own and the same each time: copy what must outlast
   * the next `pop`.
   */
  pop(): DescriptorChain | undefined
  /** Puts the chain taken last back, to be popped again. */
  unpop(): void
  /**
   * Gives chain `id` back to the driver, `written` bytes of its device-writable part having been filled from its start.
   * The driver sees it after `publish`.
   */
  push(id: number, written: number): void
  /** {@link show} and {@link notify}: once per batch. */
  publish(): void
  /** Lets the driver see everything pushed. */
  show(): void
  /** Whether the driver asks for an interrupt for what was shown since `notify` was called. */
  wantsInterrupt(): boolean
  /** Interrupts the driver for what was shown, if it asks for that. @returns whether it does */
  notify(): boolean
  /** Asks the driver, as far as the layout can, not to kick while the device is looking anyway. */
  disableNotifications(): void
  /** Asks for a kick at the next chain. `true` if a chain has become available meanwhile: look again. */
  enableNotifications(): boolean
  /** No further access to the ring, for good. */
  stop(): void
}

/** How a queue reaches those around it. */
export interface VirtqueueEvents {
  /** Raise the used buffer notification of queue `index`. */
  interrupt(index: number): void
  /** Queue `index` is beyond use: `rule` is the rule that its ring broke. */
  broken(index: number, rule: string): void
}

/** The ring features in force, and the bound that the device sets. */
export interface RingFeatures {
  readonly indirect: boolean
  readonly eventIdx: boolean
  /** Chains go back to the driver in the order in which it made them available, several by one used entry. */
  readonly inOrder: boolean
  /**
   * Segments that one chain may have, if that is more than the queue's size: a driver that chose a smaller queue
   * may still fill an indirect table to the limit that the device announced.
   */
  readonly chainCountMax: number
}

/**
 * Bytes in one chain: 2^32 by 2.7.5, and a little more, so that the longest single descriptor between a header and a
 * status is the device's to answer with an error instead of the end of the queue.
 */
export const CHAIN_LENGTH_MAX = 2 ** 32 + 4096

/** Chains, descriptors and bytes handled in one turn of the event loop, per kick. */
export const CHAIN_BUDGET = 256
export const DESCRIPTOR_BUDGET = 4096
/** Long frames are copied in the turn that sends them. */
export const BYTE_BUDGET = 2 ** 20

/** What {@link drainQueue} does with a queue's chains. */
export interface QueueService {
  /** Whether the next chain may be taken now. If not, the turn ends: whoever said so has the queue looked at later. */
  admit?(): boolean
  /** Takes one chain up. */
  handle(chain: DescriptorChain): void
  /** Starts what was taken up. Called after each run of chains; what was pushed by then is published. */
  submit(): void
  /** In place of the queue's {@link Virtqueue.publish}. */
  publish?(): void
  /** Looks for more before the turn ends. */
  readonly poller?: RingPoller | undefined
}

/**
 * Takes chains off `queue` until it is empty or the turn is over, with notifications off meanwhile.
 * @returns `true` if the turn ended it, so that chains may be left with no kick to come
 */
export function drainQueue(queue: Virtqueue, service: QueueService): boolean {
  let chains = 0
  let descriptors = 0
  let bytes = 0
  service.poller?.begin()
  for (;;) {
    let spent = false
    let held = false
    queue.disableNotifications()
    while (!spent && !held) {
      held = service.admit?.() === false
      const chain = held ? undefined : queue.pop()
      if (chain === undefined) break
      service.handle(chain)
      chains++
      descriptors += chain.count + 1
      bytes += chain.readableLength + chain.writableLength
      spent = chains >= CHAIN_BUDGET || descriptors >= DESCRIPTOR_BUDGET || bytes >= BYTE_BUDGET
    }
    service.submit()
    if (service.publish === undefined) queue.publish()
    else service.publish()
    if (spent || held) return spent
    const look = service.poller?.look(queue, chains) ?? 'nothing'
    if (look === 'turn over') return true
    if (look === 'nothing' && !queue.enableNotifications()) return false
  }
}
