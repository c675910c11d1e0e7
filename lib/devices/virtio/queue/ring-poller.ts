import { Backoff } from '../../../util/backoff.js'
import type { Virtqueue } from './virtqueue.js'

/** Looks at the ring between two looks at the clock. */
const LOOKS = 8
/** How long one turn of the event loop may go on for what polling finds. */
const TURN_MILLISECONDS = 1
/** How long we look, in times of what it took to serve a chain. */
const SERVICE_TIMES = 8
/** The longest look. */
const LOOK_MILLISECONDS_MAX = 1

/**
 * What came of a look: a chain; nothing, so that a kick is to be waited for; or the turn is over, in which looking has
 * paid, and the next one is to go on with it.
 */
export type Look = 'chain' | 'nothing' | 'turn over'

/**
 * Looks a little longer for the driver's next chain before the device goes back to waiting for a kick: waking an idle
 * CPU costs more than the chain. Bounded in time, and given up for a while each time it was in vain, for ever longer.
 *
 * A driver has its next chain sooner on a faster machine, where chains are served sooner too: what serving takes says how
 * long to look, so that it pays in an emulator as it does on a processor.
 */
export class RingPoller {
  readonly #milliseconds: number
  readonly #now: () => number
  readonly #backoff = new Backoff()
  #turnEnd = 0
  /** Since when chains are served, and how many had been by then. */
  #since = 0
  #chains = 0
  /** What the last chains took, each. */
  #service = 0
  #paid = false

  /**
   * @param microseconds how long to look at least; 0: not at all
   * @param now the time in milliseconds
   */
  constructor(microseconds: number, now = () => performance.now()) {
    this.#milliseconds = microseconds / 1000
    this.#now = now
  }

  /** A turn of the event loop begins. */
  begin(): void {
    if (this.#milliseconds === 0) return
    this.#since = this.#now()
    this.#turnEnd = this.#since + TURN_MILLISECONDS
    this.#chains = 0
  }

  /**
   * Looks, if that has paid of late.
   * @param chains served in this turn
   */
  look(queue: Virtqueue, chains: number): Look {
    if (this.#milliseconds === 0 || queue.stopped || !this.#backoff.due()) return 'nothing'
    const now = this.#now()
    if (now >= this.#turnEnd) return this.#paid ? 'turn over' : 'nothing'
    if (chains > this.#chains) this.#service = (now - this.#since) / (chains - this.#chains)
    const longest = Math.min(SERVICE_TIMES * this.#service, LOOK_MILLISECONDS_MAX)
    this.#paid = this.#available(queue, now + Math.max(this.#milliseconds, longest))
    this.#backoff.tried(this.#paid)
    if (!this.#paid) return 'nothing'
    this.#since = this.#now()
    this.#chains = chains
    return 'chain'
  }

  #available(queue: Virtqueue, end: number): boolean {
    do {
      for (let i = 0; i < LOOKS; i++) if (queue.available) return true
    } while (this.#now() < end)
    return false
  }
}
