/** Which blocks of a region of memory are plugged. */
export class BlockMap {
  readonly #plugged: Uint8Array

  constructor(blocks: number) {
    this.#plugged = new Uint8Array(blocks)
  }

  get length(): number {
    return this.#plugged.length
  }

  /** Whether all of them, none, or some are plugged; `count` is at least 1 and they are all inside. */
  state(first: number, count: number): 'all' | 'none' | 'some' {
    const blocks = this.#plugged.subarray(first, first + count)
    const other = blocks[0] === 1 ? 0 : 1
    if (blocks.includes(other)) return 'some'
    return other === 0 ? 'all' : 'none'
  }

  set(first: number, count: number, plugged: boolean): void {
    this.#plugged.fill(plugged ? 1 : 0, first, first + count)
  }

  /** The runs of plugged blocks, in order. */
  runs(): { first: number; count: number }[] {
    const runs: { first: number; count: number }[] = []
    for (let first = this.#plugged.indexOf(1); first >= 0; ) {
      const end = this.#plugged.indexOf(0, first)
      const count = (end < 0 ? this.#plugged.length : end) - first
      runs.push({ first, count })
      first = this.#plugged.indexOf(1, first + count)
    }
    return runs
  }
}
