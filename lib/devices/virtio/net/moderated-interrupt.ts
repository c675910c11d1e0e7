import { Backoff } from '../../../util/backoff.js'
import type { Virtqueue } from '../queue/virtqueue.js'

/** The most milliseconds by which an interrupt comes late. */
const DELAY_MILLISECONDS = 2
/** Bytes of a frame that may be a question or an answer: of a longer one more are likely to follow. */
export const SHORT_FRAME = 1024

/**
 * Interrupts for frames sent, of which a lone short one's waits for a moment: the answer to it interrupts the driver too,
 * which then sees to both queues and is not interrupted twice. The next frame ends the wait, so nobody is slowed down who
 * has more to say; and who does wait for the interrupt itself finds ever fewer of them put off.
 */
export class ModeratedInterrupt {
  readonly #queue: Virtqueue
  readonly #backoff = new Backoff()
  #frames = 0
  #long = false
  #waiting = false
  #timer: NodeJS.Timeout | undefined

  /** @param queue of frames to the network */
  constructor(queue: Virtqueue) {
    this.#queue = queue
  }

  /** A frame of `length` bytes goes, to be published. */
  sent(length: number): void {
    this.#frames++
    this.#long ||= length > SHORT_FRAME
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
    const lone = this.#frames === 1 && !this.#long
    if (this.#frames === 0) return
    this.#frames = 0
    this.#long = false
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
