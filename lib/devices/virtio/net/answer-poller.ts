import { RingPoller } from '../queue/ring-poller.js'
import type { Virtqueue } from '../queue/virtqueue.js'
import { FrameBatch } from './frame-batch.js'

/** How long to look at least, as disks do: an answer in time saves the kick and what it takes to wake up for it. */
const MICROSECONDS = 20

/**
 * Looks for the driver's answer to a lone short frame instead of having itself kicked for it. For frames that are
 * answered late or never, and for several at once, all is as it was: the driver kicks.
 */
export class AnswerPoller {
  readonly #queue: Virtqueue
  readonly #poller: RingPoller
  readonly #frames = new FrameBatch()
  #waiting = false

  /** @param queue of frames to the network */
  constructor(queue: Virtqueue, poller = new RingPoller(MICROSECONDS)) {
    this.#queue = queue
    this.#poller = poller
  }

  /** A frame, or a part of one, of `length` bytes is to be shown to the driver. */
  received(length: number): void {
    this.#frames.add(length)
  }

  /**
   * What was received is about to be shown.
   * @returns whether to `look`, once what else there is to do is done
   */
  expect(): boolean {
    if (this.#waiting) return false
    this.#waiting = this.#frames.lone
    if (!this.#waiting) {
      this.#frames.clear()
      return false
    }
    this.#poller.begin()
    this.#queue.disableNotifications()
    return true
  }

  /** @returns whether the queue may have some now. If not, a kick is asked for. */
  look(): boolean {
    const look = this.#frames.lone ? this.#poller.look(this.#queue, 1) : 'nothing'
    this.#waiting = false
    this.#frames.clear()
    return look === 'chain' || this.#queue.enableNotifications()
  }
}
