import { Backoff } from '../../../util/backoff.js'
import type { Virtqueue } from './virtqueue.js'

/** Looks at the ring between two looks at the clock. */
const LOOKS = 8
/** How long one turn of the event loop may go on for what polling finds. */
const TURN_MILLISECONDS = 2

/**
 * Looks a little longer for the driver's next chain before the device goes back to waiting for a kick: waking an idle
 * CPU costs more than the chain. Bounded in time, and given up for a while each time it was in vain, for ever longer.
 */
export class RingPoller {
  readonly #milliseconds: number
  #turnEnd = 0
  readonly #backoff = new Backoff()

  /** @param microseconds how long to look; 0: not at all */
  constructor(microseconds: number) {
    this.#milliseconds = microseconds / 1000
  }

  /** A turn of the event loop begins. */
  begin(): void {
    this.#turnEnd = 0
  }

  /** Whether a chain became available while we looked. */
  wait(queue: Virtqueue): boolean {
    if (this.#milliseconds === 0 || !this.#backoff.due()) return false
    const now = performance.now()
    if (this.#turnEnd === 0) this.#turnEnd = now + TURN_MILLISECONDS
    if (now >= this.#turnEnd) return false
    const end = now + this.#milliseconds
    do {
      for (let i = 0; i < LOOKS; i++) {
        if (!queue.available) continue
        this.#backoff.tried(true)
        return true
      }
    } while (performance.now() < end)
    this.#backoff.tried(false)
    return false
  }
}
