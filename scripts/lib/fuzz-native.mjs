// Fuzzing of native code by libFuzzer, with AddressSanitizer and UBSan: what takes bytes of a guest, and of a host, apart.
import { spawn, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { packageRoot } from './build-addon.mjs'
import { readCorpus } from './fuzz-corpus.mjs'

const TARGETS = {
  'native-frames': {
    about: 'the filter and the capture of frames (C++)',
    sources: ['test/fuzz/native/frames.cc', 'native/tap_filter.cc', 'native/tap_capture.cc'],
  },
  'native-requests': {
    about: 'disk requests and the guest memory that they name (C++)',
    sources: ['test/fuzz/native/requests.cc'],
  },
  'native-agent': {
    about: 'the agent in the guest (C), and whatever its kernel answers',
    sources: ['test/fuzz/native/agent.c'],
  },
}
const LIMITS = ['-timeout=10', '-rss_limit_mb=1024', '-malloc_limit_mb=16', '-max_len=4096']
/** Of what comes of it: neither each new input nor a dictionary. */
const QUIET = ['-print_final_stats=1', '-verbosity=1', '-reduce_inputs=1', '-print_pcs=0']
const VERSIONS = ['', ...[21, 20, 19, 18, 17, 16, 15, 14].map((version) => `-${version}`)]

export const nativeAbout = Object.fromEntries(
  Object.entries(TARGETS).map(([name, { about }]) => [name, about]),
)

/** @param {string} name @returns {boolean} */
export function isNative(name) {
  return Object.hasOwn(TARGETS, name)
}

/** Of clang's, what there is: `clang++` or `clang++-14`. */
function findCompiler(name) {
  return VERSIONS.map((version) => `${name}${version}`).find(
    (program) => spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0,
  )
}

/** @returns {string | undefined} the program; `undefined` where there is no compiler for it */
function compile(name) {
  const { sources } = TARGETS[name]
  const isC = sources[0].endsWith('.c')
  const compiler = findCompiler(isC ? 'clang' : 'clang++')
  if (!compiler) return undefined
  const program = join(packageRoot, 'build-fuzz', name)
  mkdirSync(dirname(program), { recursive: true })
  const headers = join(dirname(dirname(process.execPath)), 'include/node')
  const flags = [
    ...[isC ? '-std=gnu11' : '-std=c++20', '-g', '-O1', '-fsanitize=fuzzer,address,undefined'],
    ...['-fno-sanitize-recover=undefined', '-I.', '-Inative', `-I${headers}`, '-o', program],
  ]
  const { status, stderr } = spawnSync(compiler, [...flags, ...sources], {
    cwd: packageRoot,
    encoding: 'utf8',
  })
  if (status !== 0) throw new Error(`${name} does not compile: ${stderr}`)
  return program
}

/**
 * @param {string} name
 * @param {{ seconds: number, seed?: number, room: number }} options `room`: bytes of the corpus to make, 0 for none
 * @returns {Promise<{ skipped?: string, failure?: object, inputs: number, ways?: number, waysBefore?: number,
 *   features?: number, kept?: number, before?: number, corpus?: Uint8Array[] }>}
 */
export async function fuzzNative(name, { seconds, seed, room }) {
  const program = compile(name)
  if (!program) return { skipped: 'libFuzzer comes with clang: apt-get install clang', inputs: 0 }
  const folder = mkdtempSync(join(tmpdir(), 'node-kvm-fuzz-'))
  try {
    const corpus = join(folder, 'corpus')
    mkdirSync(corpus)
    const known = readCorpus(name)
    for (const [i, input] of known.entries()) writeFileSync(join(corpus, `${i}`), input)
    const args = [`-max_total_time=${seconds}`, `-artifact_prefix=${folder}/`, ...LIMITS]
    const output = await run(program, [...args, ...QUIET, `-seed=${seed ?? 0}`, corpus])
    const number = (pattern) => Number(pattern.exec(output)?.[1] ?? 0)
    const artifact = readdirSync(folder).find((file) => /^(crash|leak|oom|timeout)-/.test(file))
    const result = {
      inputs: number(/number_of_executed_units: (\d+)/),
      waysBefore: number(/INITED cov: (\d+)/),
      ways: number(/DONE +cov: (\d+)/),
      features: number(/DONE .*ft: (\d+)/),
      kept: number(/DONE .*corp: (\d+)/),
      before: known.length,
    }
    if (artifact) {
      const message = output
        .split('\n')
        .filter((line) => /^==|ERROR|^ +#\d|SUMMARY|runtime error|: .*\.cc?:/.test(line))
      const input = readFileSync(join(folder, artifact))
      return {
        ...result,
        failure: { message: message.slice(0, 40).join('\n'), seed: seed ?? 0, input },
      }
    }
    return { ...result, ...(room > 0 && { corpus: await merge(program, folder, corpus, room) }) }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Few inputs that cover what all do, the shortest first while there is room. */
async function merge(program, folder, corpus, room) {
  const merged = join(folder, 'merged')
  mkdirSync(merged)
  await run(program, ['-set_cover_merge=1', ...LIMITS, merged, corpus])
  const inputs = readdirSync(merged).map((file) => readFileSync(join(merged, file)))
  let left = room
  return inputs
    .sort((a, b) => a.length - b.length)
    .filter((input) => {
      left -= input.length
      return input.length > 0 && left >= 0
    })
}

/** @returns {Promise<string>} all that it printed */
function run(program, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        output += text
      })
    }
    child.once('error', reject)
    child.once('close', () => resolve(output))
  })
}
