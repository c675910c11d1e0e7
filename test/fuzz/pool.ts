import type { RandomNumbers } from '../helpers/random-numbers.js'

/** An input that did something that no other did, or that no shorter one did. */
export interface Kept {
  readonly bytes: Uint8Array
  /** What it did: see {@link feature}. */
  readonly features: Uint32Array
  /** How many of its features no shorter input has; what has none is forgotten. */
  owned: number
  picks: number
}

const BUCKETS = 8
/** How much shorter an input must be to take the place of one that does the same. */
const SHORTER = 3 / 4

/** A way that was gone so and so often, as a number: 1, 2, 3, up to 7, 15, 31, 127 and more are kinds of often. */
export function feature(id: number, times: number): number {
  const bucket = times < 4 ? times - 1 : Math.min(Math.floor(Math.log2(times)) + 1, 6)
  return id * BUCKETS + (times >= 128 ? 7 : bucket)
}

/** The way that a feature is of. */
export function wayOf(one: number): number {
  return Math.floor(one / BUCKETS)
}

/** What is worth changing further. */
export class Pool {
  readonly #owners = new Map<number, Kept>()
  readonly #kept: Kept[] = []

  get kept(): readonly Kept[] {
    return this.#kept
  }

  get features(): number {
    return this.#owners.size
  }

  /** The ways that were gone by anything. */
  get ways(): Set<number> {
    return new Set([...this.#owners.keys()].map(wayOf))
  }

  /** @param features is copied if it is kept, as `bytes` is @returns whether it is kept */
  offer(bytes: Uint8Array, features: readonly number[]): boolean {
    const better = features.filter((one) => {
      const owner = this.#owners.get(one)
      return !owner || bytes.length <= owner.bytes.length * SHORTER - 1
    })
    if (better.length === 0) return false
    const kept: Kept = {
      bytes: bytes.slice(),
      features: Uint32Array.from(features),
      owned: better.length,
      picks: 0,
    }
    for (const one of better) {
      const owner = this.#owners.get(one)
      if (owner && --owner.owned === 0) this.#kept.splice(this.#kept.indexOf(owner), 1)
      this.#owners.set(one, kept)
    }
    this.#kept.push(kept)
    return true
  }

  /** Of three at random the one that was taken least for what it owns. */
  pick(random: RandomNumbers): Kept | undefined {
    let best: Kept | undefined
    for (let i = 0; i < 3 && this.#kept.length > 0; i++) {
      const one = this.#kept[random(this.#kept.length)]!
      if (!best || one.picks / one.owned < best.picks / best.owned) best = one
    }
    if (best) best.picks++
    return best
  }
}

/**
 * Few inputs that go all ways, the shortest first, and then, as far as there is room, those that go them as often as others
 * do not.
 * @param room bytes of all inputs
 */
export function choose(kept: readonly Kept[], room: number): Kept[] {
  const chosen = new Set<Kept>()
  const seen = new Set<number>()
  let length = 0
  const take = (key: (one: number) => number, most: number) => {
    for (const input of kept.toSorted((a, b) => a.bytes.length - b.bytes.length)) {
      if (chosen.has(input) || length + input.bytes.length > most) continue
      const before = seen.size
      for (const one of input.features) seen.add(key(one))
      if (seen.size === before) continue
      chosen.add(input)
      length += input.bytes.length
    }
  }
  // Keys of ways are below zero, so that they are none of features.
  take((one) => -1 - wayOf(one), Number.POSITIVE_INFINITY)
  take((one) => one, room)
  return [...chosen]
}
