/** Milliseconds until the first sign of life that no load on this machine explains. */
const BOOT_LIMIT_MS = 180_000
const TICK_MS = 1000

/**
 * Calls back when the host gave no sign of life for too long. Time in which this process itself did not run, stopped
 * or on a machine that slept, does not count.
 */
export class StallWatch {
  #silent = 0
  #limit = BOOT_LIMIT_MS
  #last = 0
  #timer: NodeJS.Timeout | undefined

  constructor(
    private readonly onStall: () => void,
    /** Milliseconds between two signs of life. */
    private readonly aliveLimit: number,
  ) {}

  start(): void {
    this.#last = performance.now()
    this.#timer = setInterval(() => this.#tick(), TICK_MS)
  }

  /** A sign of life. */
  alive(): void {
    this.#silent = 0
    this.#limit = this.aliveLimit
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #tick(): void {
    const now = performance.now()
    this.#silent += Math.min(now - this.#last, 2 * TICK_MS)
    this.#last = now
    if (this.#silent < this.#limit) return
    this.stop()
    this.onStall()
  }
}
