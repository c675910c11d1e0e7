// npm run fuzz: inputs made by changing known ones, for parsers, rings, registers and requests, until a time is up.
// Usage: npm run fuzz -- --list
//        npm run fuzz -- [TARGET...] [--seconds N] [--jobs N] [--seed N] [--collect]
// All targets unless some are named, 60 seconds each, one at a time. `--collect` adds to the corpus what reaches code that
// nothing in it reached before. A failure prints the smallest input that was found for it, as a line for the corpus.
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import { bundleTests } from './lib/bundle-tests.mjs'
import { corpusFile, readCorpus } from './lib/fuzz-corpus.mjs'

const INPUT_MAX = 65_536
/** Seconds that one input may take. */
const HANG = 10
/** Bytes and number of the inputs that a corpus keeps. */
const [KEPT_LENGTH, KEPT_COUNT] = [512, 64]

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    list: { type: 'boolean', default: false },
    seconds: { type: 'string', default: '60' },
    jobs: { type: 'string', default: '1' },
    seed: { type: 'string' },
    collect: { type: 'boolean', default: false },
  },
})
const [namesModule, workerModule] = await bundleTests({
  folder: 'build-fuzz',
  files: ['fuzz/names.ts', 'fuzz/worker.ts'],
  withLibrary: true,
})
const { about } = await import(namesModule)
if (values.list) {
  for (const [name, text] of Object.entries(about)) console.log(`${name.padEnd(16)}${text}`)
} else {
  const names = positionals.length > 0 ? positionals : Object.keys(about)
  const unknown = names.find((name) => !Object.hasOwn(about, name))
  if (unknown !== undefined) {
    console.error(`no target ${unknown}; there are ${Object.keys(about).join(', ')}`)
    process.exit(2)
  }
  const waiting = [...names]
  let failed = 0
  let inputs = 0
  const work = async () => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
      const result = await fuzz(name)
      inputs += result.inputs
      if (result.failed) failed++
    }
  }
  await Promise.all(Array.from({ length: Number(values.jobs) }, work))
  console.log(`\n${inputs} inputs\n${names.length - failed} passed, ${failed} failed`)
  process.exitCode = failed === 0 ? 0 : 1
}

function fuzz(name) {
  const progress = new SharedArrayBuffer(8 + INPUT_MAX)
  const counters = new Uint32Array(progress, 0, 2)
  const corpus = readCorpus(name)
  const seed = values.seed === undefined ? (Math.random() * 0x7fff_ffff) | 0 : Number(values.seed)
  const seconds = Number(values.seconds)
  return new Promise((resolve) => {
    const worker = new Worker(workerModule, {
      workerData: { name, seconds, seed, corpus, collect: values.collect, progress },
    })
    let seen = -1
    const watch = setInterval(() => {
      const now = Atomics.load(counters, 0)
      if (now === seen) end({ message: `it does not come back within ${HANG} s` })
      seen = now
    }, HANG * 1000)
    const end = (failure, found = [], blocks) => {
      clearInterval(watch)
      worker.removeAllListeners()
      void worker.terminate()
      const runs = Atomics.load(counters, 0)
      const input = failure?.input ?? new Uint8Array(progress, 8, Math.min(counters[1], INPUT_MAX))
      const rate = Math.round(runs / Math.max(seconds, 1))
      const kept = values.collect
        ? `, ${keep(name, corpus, found)} in the corpus, ${blocks} blocks`
        : ''
      console.log(`${failure ? 'FAIL' : 'ok'} ${name}: ${runs} inputs, ${rate}/s${kept}`)
      if (failure) console.log(`${failure.message}\nseed ${failure.seed}, input ${hex(input)}`)
      resolve({ failed: failure !== undefined, inputs: runs })
    }
    worker.once('message', ({ failure, found, blocks }) => end(failure, found, blocks))
    worker.once('error', (error) => end({ message: String(error.stack), seed }))
  })
}

function hex(bytes) {
  return Buffer.from(bytes).toString('hex')
}

/** Adds the shortest of what was found, and says how many there are. */
function keep(name, corpus, found) {
  const short = found.filter((input) => input.length <= KEPT_LENGTH)
  const lines = [...new Set([...corpus, ...short].map(hex))].filter(Boolean)
  const chosen = lines.sort((a, b) => a.length - b.length).slice(0, KEPT_COUNT)
  writeFileSync(corpusFile(name), chosen.map((line) => `${line}\n`).join(''))
  return chosen.length
}
