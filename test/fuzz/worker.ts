// One target, in a thread of its own, until its time is up: started by scripts/fuzz.mjs.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { parentPort, workerData } from 'node:worker_threads'
import { corpusOf, fuzz } from './guided.js'
import type { Pool } from './pool.js'
import { files } from './probes.js'
import { targets } from './targets/all.js'
import type { FuzzTarget } from './targets/target.js'

interface Job {
  readonly name: string
  readonly seconds: number
  readonly seed: number
  readonly corpus: readonly Uint8Array[]
  /** Bytes of the corpus that is to be made of what is found. */
  readonly room: number
  /** How many runs there were, and the length and bytes of the present input, for whoever ends a run that hangs. */
  readonly progress: SharedArrayBuffer
}

/** Bytes that may stay behind when the same inputs are run again. */
const GROWTH_MAX = 2 ** 20
const REPEATS = 300
/** How often in a row: what streams and finalizers hold for a moment longer does not come again each time. */
const ROUNDS = 5

const { name, seconds, seed, corpus, room, progress } = workerData as Job
const counters = new Uint32Array(progress, 0, 2)
const present = new Uint8Array(progress, 8)
const { run, ...others } = targets[name]!
const target: FuzzTarget = {
  ...others,
  run: (input) => {
    present.set(input.subarray(0, present.length))
    counters[1] = input.length
    Atomics.add(counters, 0, 1)
    return run(input)
  },
}
const end = performance.now() + 1000 * seconds

const found = await fuzz(target, {
  corpus,
  seed,
  goOn: () => performance.now() < end,
})
const { pool, waysBefore } = found
const failure = found.failure ?? (await growth(pool))
const ways = pool.ways
const loaded = files.filter(({ first, lines }) => lines.some((_, i) => ways.has(first + i)))
parentPort?.postMessage({
  failure: failure && { ...failure, seed },
  corpus: room > 0 && !failure ? await corpusOf(target, pool.kept, room) : [],
  kept: pool.kept.length,
  features: pool.features,
  ways: ways.size,
  waysBefore,
  missed: loaded.map(({ name, first, lines }) => ({
    name,
    count: lines.length,
    lines: lines.filter((_, i) => !ways.has(first + i)),
  })),
})

/** What the inputs leave behind that were run before; nothing, it should be. */
async function growth({ kept }: Pool) {
  if (kept.length === 0) return undefined
  const round = async () => {
    for (let i = 0; i < REPEATS; i++) await target.run(kept[i % kept.length]!.bytes)
    return memoryInUse()
  }
  await round()
  let before = await round()
  let more = 0
  for (let i = 0; i < ROUNDS; i++) {
    const after = await round()
    more = after - before
    if (more <= GROWTH_MAX) return undefined
    before = after
  }
  return { input: kept[0]!.bytes, message: `${REPEATS} inputs have left ${more} bytes behind` }
}

async function memoryInUse(): Promise<number> {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  // What is finalized may let go of more.
  for (let i = 0; i < 2; i++) {
    collect()
    await new Promise((resolve) => setImmediate(resolve))
  }
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}
