// One target, in a thread of its own, until its time is up: started by scripts/fuzz.mjs.
import { parentPort, workerData } from 'node:worker_threads'
import fc from 'fast-check'
import { BlockCoverage } from './block-coverage.js'
import { inputs } from './mutations.js'
import { targets } from './targets/all.js'

interface Job {
  readonly name: string
  readonly seconds: number
  readonly seed: number
  readonly corpus: readonly Uint8Array[]
  /** Keep what reaches code that nothing did before. */
  readonly collect: boolean
  /** How many runs there were, and the length and bytes of the present input, for whoever ends a run that hangs. */
  readonly progress: SharedArrayBuffer
}

const { name, seconds, seed, corpus, collect, progress } = workerData as Job
const target = targets[name]!
const counters = new Uint32Array(progress, 0, 2)
const present = new Uint8Array(progress, 8)
const end = performance.now() + 1000 * seconds
const known = [...(target.seeds?.() ?? []), ...corpus]
const coverage = collect ? new BlockCoverage() : undefined
const found: Uint8Array[] = []

async function run(input: Uint8Array): Promise<void> {
  present.set(input.subarray(0, present.length))
  counters[1] = input.length
  Atomics.add(counters, 0, 1)
  await target.run(input)
  if (coverage?.grew()) found.push(input.slice())
}

const failure = await fuzz()
parentPort?.postMessage({ failure, found, blocks: coverage?.size })

async function fuzz(): Promise<{ message: string; input: Uint8Array; seed: number } | undefined> {
  for (const input of known) {
    try {
      await run(input)
    } catch (error) {
      return { message: String((error as Error).stack), input, seed }
    }
  }
  for (let round = 0; performance.now() < end; round++) {
    const parameters = {
      seed: seed + round,
      numRuns: 500,
      interruptAfterTimeLimit: end - performance.now(),
    }
    const property = fc.asyncProperty(inputs([...known, ...found]), run)
    const { failed, counterexample, errorInstance } = await fc.check(property, parameters)
    if (failed && counterexample)
      return {
        message: String((errorInstance as Error | undefined)?.stack),
        input: counterexample[0],
        seed: parameters.seed,
      }
  }
  return undefined
}
