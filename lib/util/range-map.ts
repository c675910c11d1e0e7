/** One entry of a {@link RangeMap}: `[base, end)`. */
export interface Range {
  readonly base: number
  readonly end: number
}

/**
 * Ranges of integers, none overlapping, found by a point in them in O(log n) without allocation. A look-up that hits the
 * same range as the one before it takes two comparisons.
 */
export class RangeMap<R extends Range> implements Iterable<R> {
  /** By base. */
  #ranges: R[] = []
  #last: R | undefined

  get size(): number {
    return this.#ranges.length
  }

  /** The range that holds `point`. */
  find(point: number): R | undefined {
    const last = this.#last
    if (last !== undefined && point >= last.base && point < last.end) return last
    const range = this.#ranges[this.#after(point) - 1]
    if (range === undefined || point >= range.end || point < range.base) return undefined
    this.#last = range
    return range
  }

  /** Adds a range that is not empty; returns, and adds nothing, if there is one, the first range it would overlap. */
  add(range: R): R | undefined {
    const index = this.#after(range.base)
    const before = this.#ranges[index - 1]
    if (before !== undefined && before.end > range.base) return before
    const next = this.#ranges[index]
    if (next !== undefined && next.base < range.end) return next
    this.#ranges.splice(index, 0, range)
    return undefined
  }

  /** Takes out the range that begins at `base`. */
  remove(base: number): R | undefined {
    const index = this.#after(base) - 1
    const range = this.#ranges[index]
    if (range === undefined || range.base !== base) return undefined
    this.#ranges.splice(index, 1)
    this.#last = undefined
    return range
  }

  /** In order of their bases. */
  [Symbol.iterator](): IterableIterator<R> {
    return this.#ranges.values()
  }

  /** The index of the first range whose base is above `point`. */
  #after(point: number): number {
    let low = 0
    let high = this.#ranges.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#ranges[middle]!.base <= point) low = middle + 1
      else high = middle
    }
    return low
  }
}
