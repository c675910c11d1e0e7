/** A monotonic clock in nanoseconds that leaves out what it is told to. */
export class SkippingClock {
  #skipped = 0n

  /** From an arbitrary beginning. */
  now(): bigint {
    return process.hrtime.bigint() - this.#skipped
  }

  /** Goes back by so many nanoseconds, in which nobody has looked. */
  skip(nanoseconds: bigint): void {
    this.#skipped += nanoseconds
  }
}
