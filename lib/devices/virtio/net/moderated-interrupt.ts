import { Backoff } from '../../../util/backoff.js'
import type { Virtqueue } from '../queue/virtqueue.js'
import { FrameBatch } from './frame-batch.js'

/** The most milliseconds by which an interrupt comes late. */
const DELAY_MILLISECONDS = 2

/**
 * Interrupts for frames sent, of which a lone short one's waits for a moment: the answer to it interrupts the driver too,
 * which then sees to both queues and is not interrupted twice. The next frame ends the wait, so nobody is slowed down who
 * has more to say; and who does wait for the interrupt itself finds ever fewer of them put off.
 */
export class ModeratedInterrupt {
  readonly #queue: Virtqueue
  readonly #backoff = new Backoff()
  readonly #frames = new FrameBatch()
  #waiting = false
  #timer: NodeJS.Timeout | undefined

  /** @param queue of frames to the network */
  constructor(queue: Virtqueue) {
    this.#queue = queue
  }

  /** A frame of `length` bytes goes, to be published. */
  sent(length: number): void {
    this.#frames.add(length)
  }

  /** As {@link Virtqueue.publish}. */
  publish(): void {
    if (this.#waiting && !this.#queue.wantsInterrupt()) {
      // The driver has seen to the frame of before.
      this.#queue.notify()
      this.#waiting = false
      this.#backoff.tried(true)
    }
    this.#queue.show()
    if (this.#frames.empty) return
    const { lone } = this.#frames
    this.#frames.clear()
    if (lone && !this.#waiting && this.#backoff.due()) {
      this.#waiting = true
      this.#timer ??= setTimeout(() => this.#expire(), DELAY_MILLISECONDS)
      return
    }
    this.#waiting = false
    this.#queue.notify()
  }

  /** Nothing more is published. */
  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#waiting = false
  }

  #expire(): void {
    this.#timer = undefined
    if (!this.#waiting) return
    this.#waiting = false
    this.#backoff.tried(!this.#queue.notify())
  }
}
