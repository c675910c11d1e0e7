/** The most occasions that go by without an attempt. */
const SKIP_MAX = 128

/** Whether an attempt that costs little, and saves much when it works, is worth it: ever less often while it is in vain. */
export class Backoff {
  #misses = 0
  #skip = 0

  /** An occasion: whether to take it. What came of it is to be told. */
  due(): boolean {
    if (this.#skip === 0) return true
    this.#skip--
    return false
  }

  /** How the attempt that was due ended. */
  tried(worked: boolean): void {
    if (worked) {
      this.#misses = 0
      return
    }
    this.#skip = Math.min(2 ** this.#misses, SKIP_MAX) - 1
    if (this.#misses < 16) this.#misses++
  }
}
