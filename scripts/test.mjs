// npm test: everything. Stock kernels run on this machine's KVM where it can run them, else in the emulated KVM host.
// Usage: npm test -- [--no-install] [--isolation process] [--only unit|kvm|hostile|load|guest|guest-long|guest-long/NAME]
import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { bootstrap, main, step } from './bootstrap.mjs'
import { packageRoot } from './lib/build-addon.mjs'
import { beside } from './lib/held-output.mjs'
import { describeGroup } from './lib/processes.mjs'
import { count, failures, readResults, stalledTests } from './lib/results.mjs'
import { vitest } from './lib/vitest.mjs'

const PROGRAMS = [
  ...['qemu-system-x86_64', 'ip', 'mkfs.ext4', 'dpkg-deb'],
  // What some tests compare with.
  ...['cpio', 'passt', 'tcpdump', 'iasl', 'lz4', 'zstd', 'gdb', 'zsh'],
]
const SUITES = ['unit', 'kvm', 'hostile', 'load', 'guest']
/** Run only when asked for: firmware, whole Debians and whatever else takes minutes where KVM is emulated. */
const LONG = 'guest-long'
/** Each file of those is a suite of its own, of a few minutes. */
const LONG_FILE = /^(.+)\.long\.test\.ts$/
const LONG_PARTS = readdirSync(join(packageRoot, 'test/guest'))
  .flatMap((file) => LONG_FILE.exec(file)?.[1] ?? [])
  .map((part) => `${LONG}/${part}`)
/** Suites that make the emulator itself abort, as it comes, and by which of its faults. */
const ABORTING = {
  [`${LONG}/ovmf`]:
    "QEMU's emulation of SVM asserts when a nested guest writes CR8, as OVMF does with each interrupt",
}
/** Seconds, of one start of the emulated host: far more than the guest tests take. */
const HOST_LIMIT = 3600
/** What runs in the emulated host: the guests, and what differs between its KVM and one in software. */
const EMULATED = {
  guest: {
    projects: ['guest', 'kvm'],
    filters: ['test/guest/', ...['every-ioctl', 'exits', 'run'].map((name) => `test/kvm/${name}.`)],
  },
  ...Object.fromEntries(
    LONG_PARTS.map((part) => [
      part,
      { projects: [LONG], filters: [`test/guest/${part.slice(LONG.length + 1)}.long.`] },
    ]),
  ),
}
/**
 * Seconds without a result of a suite on this machine: vitest's own limits, of which the longest is 300 seconds, cannot
 * end a test that blocks its thread.
 */
const SILENCE_LIMIT = 600

await main(async () => {
  const { values } = parseArgs({
    options: {
      'no-install': { type: 'boolean', default: false },
      only: { type: 'string', multiple: true, default: SUITES },
      isolation: { type: 'string', default: process.env.NODE_KVM_ISOLATION ?? 'none' },
    },
  })
  // What machines of the tests are unless they say otherwise.
  process.env.NODE_KVM_ISOLATION = values.isolation
  const all = [...SUITES, ...LONG_PARTS]
  const wrong = values.only.find((name) => name !== LONG && !all.includes(name))
  if (wrong !== undefined)
    throw new Error(`--only: expected ${[LONG, ...all].join(', ')}, got ${wrong}`)
  const isWanted = (name) =>
    values.only.includes(name) || (LONG_PARTS.includes(name) && values.only.includes(LONG))
  const wanted = all.filter(isWanted)
  const long = wanted.some((name) => LONG_PARTS.includes(name))
  await bootstrap({ programs: PROGRAMS, install: !values['no-install'] })
  const { kvmUsable } = await import('../dist/lib/index.js')
  const testing = await import('../dist/lib/testing.js')
  await step('Preparing the guests', (report) => testing.prepareGuestAssets({ report, long }))

  const directory = mkdtempSync(join(tmpdir(), 'node-kvm-test-'))
  try {
    const { usable, why } = await kvmUsable()
    const own = `this machine's /dev/kvm: ${why}`
    const isEmulated = (name) => name in EMULATED && !usable
    const run = async (name, output) => {
      const results = join(directory, `${name.replace('/', '-')}.jsonl`)
      const emulated = isEmulated(name)
      // What else ends it, such as the host's time, fails this suite and no other.
      const thrown = []
      const running = emulated
        ? runEmulated(name, results, directory, testing, output)
        : runHere(name, results)
      const repeats = await running.catch(({ message }) => {
        thrown.push(message)
        return []
      })
      const aborted = emulated && ABORTING[name] && !readResults(results).ended
      if (aborted) output.write(`\n${name}: skipped: ${ABORTING[name]}\n`)
      const kvm = name === 'unit' ? 'none' : emulated ? `the emulated KVM host, as ${own}` : own
      const done = readResults(results)
      const counts = aborted ? { passed: 0, failed: 0, skipped: done.undone.length } : count(done)
      counts.failed += thrown.length
      const failed = aborted ? [] : failures(done)
      return { name, kvm, repeats, failures: [...thrown, ...failed], aborted, ...counts }
    }
    const suites = await runAll(wanted, isEmulated, run)
    if (!long) process.stdout.write(`\n${LONG}: not run; npm test -- --only ${LONG}\n`)
    return summarize(suites)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
})

/**
 * The suites, one after another; but those of the emulated host, which has one processor, beside all others, and their
 * output after that of these.
 * @param {(name: string, output: Writable) => Promise<object>} run
 */
async function runAll(names, isEmulated, run) {
  const inTurn = async (some, output) => {
    const suites = []
    for (const name of some) suites.push(await run(name, output))
    return suites
  }
  const suites = await beside(
    (output) =>
      inTurn(
        names.filter((name) => !isEmulated(name)),
        output,
      ),
    (output) => inTurn(names.filter(isEmulated), output),
  )
  return suites.flat()
}

/**
 * A suite on this machine. What blocks its process for good, as a guest in a software KVM has been seen to, is ended
 * with the suite and told; the files that were not done are run again, once.
 * @returns {Promise<string[]>} what was repeated, and why
 */
async function runHere(name, results) {
  const { projects, filters } = LONG_PARTS.includes(name)
    ? EMULATED[name]
    : { projects: [name], filters: [] }
  if (await runGroup(name, projects, results, filters)) return []
  const files = readResults(results).undone
  await runGroup(name, projects, results, files)
  return files.map((file) => `${file}: not done after ${SILENCE_LIMIT} s without a result`)
}

/** @returns {Promise<boolean>} whether it ended by itself */
function runGroup(name, projects, results, filters) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, vitest(projects, filters), {
      cwd: packageRoot,
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { ...process.env, NODE_KVM_RESULTS: results },
      // A group of its own, so that nothing of it is left.
      detached: true,
    })
    const interrupt = (signal) => {
      killGroup(child.pid)
      process.exit(128 + constants.signals[signal])
    }
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP']
    for (const signal of signals) process.once(signal, interrupt)
    let ended = true
    let size = 0
    let silent = 0
    const timer = setInterval(() => {
      const before = size
      size = statSync(results, { throwIfNoEntry: false })?.size ?? 0
      silent = size === before ? silent + 1 : 0
      if (silent < SILENCE_LIMIT) return
      clearInterval(timer)
      ended = false
      const running = readResults(results).running.join('; ')
      process.stdout.write(
        `\n${name}: no result for ${SILENCE_LIMIT} s. Running: ${running}\n${describeGroup(child.pid)}\n`,
      )
      killGroup(child.pid)
    }, 1000)
    child.on('error', reject)
    child.on('close', () => {
      clearInterval(timer)
      for (const signal of signals) process.off(signal, interrupt)
      killGroup(child.pid)
      resolve(ended)
    })
  })
}

function killGroup(id) {
  try {
    process.kill(-id, 'SIGKILL')
  } catch {
    // It has ended.
  }
}

/**
 * The guest tests, in one start of the emulated host, since each start costs more than a guest's boot. After a fault of
 * the emulator itself another start does what was not done; a test that came to nothing but its time limit, which is
 * what such a fault inside a guest looks like, is run again, once. No other test is.
 * @returns {Promise<string[]>} what was repeated, and why
 */
async function runEmulated(name, results, directory, testing, output) {
  const repeats = []
  const start = async (filters) => {
    try {
      await testing.runInEmulatedHost(
        [process.execPath, ...vitest(EMULATED[name].projects, filters)],
        {
          cwd: packageRoot,
          env: {
            NODE_KVM_RESULTS: results,
            NODE_KVM_ISOLATION: process.env.NODE_KVM_ISOLATION,
          },
          shareReadWrite: [directory],
          stdin: 'ignore',
          stdout: output,
          stderr: output,
          // The emulator's threads race where a kernel patches its code while another processor runs it: with two, one
          // start in ten or so ends by a fault of the emulator's own.
          cpus: 1,
          timeoutSeconds: HOST_LIMIT,
          repeat: false,
        },
      )
      return true
    } catch (error) {
      if (error.code !== 'ERR_EMULATED_HOST' || !Array.isArray(error.value)) throw error
      output.write(`\n${error.message}\n`)
      repeats.push(error.message)
      return false
    }
  }
  output.write(`\nRunning ${name} in the emulated KVM host\n`)
  const { filters } = EMULATED[name]
  // Nothing is planned yet if the emulator fails at once.
  const left = () => {
    const { undone } = readResults(results)
    return undone.length > 0 ? undone : filters
  }
  if (!(await start(filters)) && !(await start(left()))) return repeats
  const stalled = stalledTests(readResults(results))
  if (stalled.length > 0) {
    repeats.push(...stalled.map(({ file, name }) => `${file}: ${name}: timed out`))
    output.write(`\nRunning again what timed out, once:\n${repeats.join('\n')}\n`)
    const names = stalled.map(({ name }) => escapeRegExp(name.replaceAll(' > ', ' ')))
    await start([...new Set(stalled.map(({ file }) => file)), '-t', `^(${names.join('|')})$`])
  }
  return repeats
}

function escapeRegExp(text) {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')
}

function summarize(suites) {
  const sum = (field) => suites.reduce((total, suite) => total + suite[field], 0)
  const lines = ['']
  for (const { name, kvm, passed, failed, skipped, repeats, failures } of suites) {
    lines.push(`${name}: ${passed} passed, ${failed} failed, ${skipped} skipped; KVM: ${kvm}`)
    if (repeats.length > 0) {
      lines.push(`${name}: ${repeats.length} repeated:`)
      lines.push(...repeats.map((repeat) => `  ${repeat}`))
    }
    lines.push(...failures.map((failure) => `  FAILED ${failure}`))
  }
  lines.push(`${sum('passed')} passed, ${sum('failed')} failed`, '')
  process.stdout.write(lines.join('\n'))
  return sum('failed') === 0 && suites.every(({ passed, aborted }) => passed > 0 || aborted) ? 0 : 1
}
