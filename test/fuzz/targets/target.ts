import type { RandomNumbers } from '../../helpers/random-numbers.js'

/** A thing that must survive any bytes. */
export interface FuzzTarget {
  /** What it is, in a few words. */
  readonly about: string
  /** Good inputs to begin with, besides the corpus. */
  seeds?(): readonly Uint8Array[]
  /** What inputs are made of, for those that are text or hold names. */
  readonly words?: readonly (string | Uint8Array)[]
  /** Puts right what else makes nearly every input one that is refused at once, such as a checksum. */
  mend?(input: Uint8Array, random: RandomNumbers): Uint8Array
  /** Throws, or rejects, if the bytes make anything do what it must not. */
  run(data: Uint8Array): void | Promise<void>
}

/** Values out of the bytes of an input; zeros once they are used up. */
export class Input {
  readonly #view: DataView
  #at = 0

  constructor(private readonly data: Uint8Array) {
    this.#view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  }

  get done(): boolean {
    return this.#at >= this.data.length
  }

  u8(): number {
    return this.data[this.#at++] ?? 0
  }

  u16(): number {
    return this.u8() | (this.u8() << 8)
  }

  u32(): number {
    const at = this.#at
    this.#at += 4
    return at + 4 <= this.data.length ? this.#view.getUint32(at, true) : 0
  }

  bytes(length: number): Uint8Array {
    const bytes = this.data.subarray(this.#at, this.#at + length)
    this.#at += length
    return bytes
  }

  choose<T>(from: readonly T[]): T {
    return from[this.u8() % from.length]!
  }
}

/** Fails the run. */
export function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(what)
}
