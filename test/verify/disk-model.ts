const SECTOR = 512

/** What a disk must hold: its bytes, and which of them nobody can know. */
export class DiskModel {
  readonly bytes: Uint8Array
  /** By sector: 1 after a discard, as it may read as anything then. */
  readonly #unknown: Uint8Array
  /** By sector: requests in flight that read it, or 255 for one that changes it. */
  readonly #busy: Uint8Array

  constructor(sectors: number) {
    this.bytes = new Uint8Array(sectors * SECTOR)
    this.#unknown = new Uint8Array(sectors)
    this.#busy = new Uint8Array(sectors)
  }

  /** Whether a request may begin: what overlaps a change in flight has no one right result. */
  begin(first: number, count: number, changes: boolean): boolean {
    for (let i = first; i < first + count; i++) {
      if (this.#busy[i]! >= (changes ? 1 : 254)) return false
    }
    for (let i = first; i < first + count; i++) this.#busy[i]! += changes ? 255 : 1
    return true
  }

  end(first: number, count: number, changes: boolean): void {
    for (let i = first; i < first + count; i++) this.#busy[i]! -= changes ? 255 : 1
  }

  write(first: number, data: Uint8Array): void {
    this.bytes.set(data, first * SECTOR)
    this.#unknown.fill(0, first, first + data.length / SECTOR)
  }

  zero(first: number, count: number): void {
    this.bytes.fill(0, first * SECTOR, (first + count) * SECTOR)
    this.#unknown.fill(0, first, first + count)
  }

  discard(first: number, count: number): void {
    this.#unknown.fill(1, first, first + count)
  }

  /** How many sectors of `data`, read from `first` on, are not what they must be. */
  mismatches(first: number, data: Uint8Array): number {
    let wrong = 0
    for (let i = 0; i < data.length / SECTOR; i++) {
      if (this.#unknown[first + i] === 1) continue
      const expected = this.bytes.subarray((first + i) * SECTOR, (first + i + 1) * SECTOR)
      if (Buffer.compare(data.subarray(i * SECTOR, (i + 1) * SECTOR), expected) !== 0) wrong++
    }
    return wrong
  }
}
