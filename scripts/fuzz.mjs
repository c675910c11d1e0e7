// npm run fuzz: inputs made by changing those that go new ways through the code, for parsers, rings, registers and requests,
// until a time is up.
// Usage: npm run fuzz -- --list
//        npm run fuzz -- [TARGET...] [--seconds N] [--jobs N] [--seed N] [--collect] [--missed]
// All targets unless some are named, 60 seconds each, one at a time. `--collect` makes a new corpus of the old one and what
// was found; `--missed` tells of the lines whose branches go ways that nothing went. A failure prints the smallest input that was
// found for it, as a line for the corpus.
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import { bundleTests } from './lib/bundle-tests.mjs'
import { formatInput, readCorpus, writeCorpus } from './lib/fuzz-corpus.mjs'
import { instrumentation } from './lib/fuzz-instrument.mjs'
import { fuzzNative, isNative, nativeAbout } from './lib/fuzz-native.mjs'

const INPUT_MAX = 65_536
/** Seconds that one input may take. */
const HANG = 10
/** Bytes of a corpus, beyond what it takes to go all ways. */
const ROOM = 8192

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    list: { type: 'boolean', default: false },
    seconds: { type: 'string', default: '60' },
    jobs: { type: 'string', default: '1' },
    seed: { type: 'string' },
    collect: { type: 'boolean', default: false },
    missed: { type: 'boolean', default: false },
  },
})
const [namesModule, workerModule] = await bundleTests({
  folder: 'build-fuzz',
  files: ['fuzz/names.ts', 'fuzz/worker.ts'],
  withLibrary: true,
  plugins: [instrumentation],
})
const { about: names } = await import(namesModule)
const about = { ...names, ...nativeAbout }
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
      const result = await (isNative(name) ? fuzzByLibFuzzer(name) : fuzz(name))
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
    const room = values.collect ? ROOM : 0
    const worker = new Worker(workerModule, {
      workerData: { name, seconds, seed, corpus, room, progress },
    })
    let seen = -1
    const watch = setInterval(() => {
      const now = Atomics.load(counters, 0)
      if (now === seen)
        end({ failure: { message: `it does not come back within ${HANG} s`, seed } })
      seen = now
    }, HANG * 1000)
    const end = (result) => {
      clearInterval(watch)
      worker.removeAllListeners()
      void worker.terminate()
      const inputs = Atomics.load(counters, 0)
      const last = new Uint8Array(progress, 8, Math.min(counters[1], INPUT_MAX))
      const failure = result.failure && { input: last, ...result.failure }
      conclude(name, { ...result, failure, inputs, seconds, before: corpus.length })
      resolve({ failed: failure !== undefined, inputs })
    }
    worker.once('message', end)
    worker.once('error', (error) => end({ failure: { message: String(error.stack), seed } }))
  })
}

async function fuzzByLibFuzzer(name) {
  const seconds = Number(values.seconds)
  const seed = values.seed === undefined ? undefined : Number(values.seed)
  const result = await fuzzNative(name, { seconds, seed, room: values.collect ? ROOM : 0 })
  if (result.skipped) console.log(`skipped ${name}: ${result.skipped}`)
  else conclude(name, { ...result, seconds })
  return { failed: result.failure !== undefined, inputs: result.inputs }
}

/** Reports, and keeps what is to be kept. */
function conclude(name, result) {
  report(name, result)
  const { failure, corpus } = result
  if (failure) {
    console.log(`${failure.message}\nseed ${failure.seed}, input ${formatInput(failure.input)}`)
  } else if (values.collect) writeCorpus(name, corpus)
}

function report(name, result) {
  const { failure, inputs, seconds, kept, features, ways, waysBefore, before, corpus, missed } =
    result
  const parts = [`${inputs} inputs`, `${Math.round(inputs / Math.max(seconds, 1))}/s`]
  if (ways !== undefined) {
    const all = missed ? ` of ${missed.reduce((sum, { count }) => sum + count, 0)}` : ''
    parts.push(
      `${ways}${all} ways (${waysBefore} before)`,
      `${features} features in ${kept} inputs`,
    )
  }
  if (values.collect && corpus) parts.push(`corpus of ${corpus.length} (${before} before)`)
  console.log(`${failure ? 'FAIL' : 'ok'} ${name}: ${parts.join(', ')}`)
  if (!values.missed) return
  for (const file of missed ?? []) {
    if (file.lines.length > 0)
      console.log(
        `  ${file.name}: ${file.count - file.lines.length} of ${file.count}, not ${file.lines.join(' ')}`,
      )
  }
}
