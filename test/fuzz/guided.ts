import { type RandomNumbers, randomNumbers } from '../helpers/random-numbers.js'
import { mutate } from './mutate.js'
import { choose, feature, type Kept, Pool, wayOf } from './pool.js'
import { comparisons, takeReached } from './probes.js'
import { shrink } from './shrink.js'
import type { FuzzTarget } from './targets/target.js'

export interface Found {
  readonly input: Uint8Array
  readonly message: string
}

export interface Guided {
  readonly failure?: Found
  /** Inputs that are worth something, of which the corpus is chosen. */
  readonly pool: Pool
  /** Ways of branches that what was known before goes. */
  readonly waysBefore: number
}

export interface GuidedOptions {
  /** Inputs to begin with, besides the target's own. */
  readonly corpus: readonly Uint8Array[]
  readonly seed: number
  /** Whether there is to be another input. */
  goOn(): boolean
}

/** Inputs that come of one before the next is chosen. */
const OFFSPRING = 64
const SHRINK_TRIES = 2000

/** Gives a target changes of the inputs that do something that no others do, until something fails. */
export async function fuzz(target: FuzzTarget, options: GuidedOptions): Promise<Guided> {
  const random = randomNumbers(options.seed)
  const pool = new Pool()
  let failure: Found | undefined

  /** @returns whether it went well */
  const attempt = async (input: Uint8Array): Promise<boolean> => {
    takeReached(() => {})
    try {
      await target.run(input)
    } catch (error) {
      failure = { input, message: String((error as Error).stack ?? error) }
    }
    pool.offer(input, features())
    return failure === undefined
  }
  const found = async (): Promise<Guided> => {
    const { message } = failure!
    const fails = async (input: Uint8Array) => {
      failure = undefined
      return !(await attempt(input))
    }
    const input = await shrink(failure!.input, fails, SHRINK_TRIES)
    return { failure: { input, message }, pool, waysBefore }
  }

  let waysBefore = 0
  for (const input of [new Uint8Array(0), ...(target.seeds?.() ?? []), ...options.corpus]) {
    if (!(await attempt(input))) return found()
  }
  waysBefore = pool.ways.size
  const words = (target.words ?? []).map((word) => Buffer.from(word))
  while (options.goOn()) {
    const parent = pool.pick(random)?.bytes ?? new Uint8Array(0)
    const pairs = await comparisons(async () => void (await attempt(parent)))
    for (let i = 0; i < OFFSPRING && options.goOn(); i++) {
      const other = pool.pick(random)?.bytes ?? parent
      const input = mutate(parent, { random, other, pairs, words })
      if (!(await attempt(offspring(target, input, random)))) return found()
    }
  }
  return { pool, waysBefore }
}

/** Half of them as a target would have them, if it minds. */
function offspring(target: FuzzTarget, input: Uint8Array, random: RandomNumbers): Uint8Array {
  return target.mend && random(4) > 0 ? target.mend(input, random) : input
}

function features(): number[] {
  const list: number[] = []
  takeReached((id, times) => list.push(feature(id, times)))
  return list
}

/**
 * A corpus of what was found: what goes all ways, each input as short as it can be, and more while there is room.
 * @param room bytes
 */
export async function corpusOf(
  target: FuzzTarget,
  kept: readonly Kept[],
  room: number,
): Promise<Uint8Array[]> {
  const others = new Map<number, number>()
  const chosen = choose(kept, room)
  const waysOf = (input: Kept) => new Set([...input.features].map(wayOf))
  for (const input of chosen)
    for (const way of waysOf(input)) others.set(way, (others.get(way) ?? 0) + 1)
  const corpus: Uint8Array[] = []
  for (const input of chosen) {
    const own = [...waysOf(input)].filter((way) => others.get(way) === 1)
    corpus.push(own.length === 0 ? input.bytes : await shorten(target, input.bytes, own))
  }
  return corpus.filter((input) => input.length > 0)
}

/** Shorter, but going the same ways. */
function shorten(target: FuzzTarget, input: Uint8Array, ways: number[]): Promise<Uint8Array> {
  const goesThem = async (shorter: Uint8Array) => {
    takeReached(() => {})
    await target.run(shorter)
    const gone = new Set(features().map(wayOf))
    return ways.every((way) => gone.has(way))
  }
  return shrink(input, goesThem, 400)
}
