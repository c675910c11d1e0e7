// npm run test:asan, test:tsan: builds the addon with sanitizers and runs tests with it.
// Usage: node scripts/sanitize.mjs address|thread [VITEST ARGUMENTS...], `--project kvm` unless given
//        node scripts/sanitize.mjs leak [PROGRAM...], scripts/leak-cycles.mjs unless given
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { packageRoot } from './lib/build-addon.mjs'

const kinds = {
  address: {
    script: 'build:asan',
    directory: 'build-asan',
    libraries: ['libasan.so', 'libubsan.so'],
    options: {
      ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=1:handle_segv=0:use_sigaltstack=0',
      UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
    },
  },
  // Node frees little when it ends, so leaks by themselves fail nothing; those of ours are sought in the reports. They
  // are found only if every allocation walks the stack through Node, which is slow, and if the process ends by itself,
  // which a test runner's do not.
  leak: {
    script: 'build:asan',
    directory: 'build-asan',
    libraries: ['libasan.so', 'libubsan.so'],
    program: [join(packageRoot, 'scripts/leak-cycles.mjs')],
    options: {
      ASAN_OPTIONS: 'detect_leaks=1:fast_unwind_on_malloc=0:handle_segv=0:use_sigaltstack=0',
      LSAN_OPTIONS: `exitcode=0:report_objects=0:suppressions=${join(packageRoot, 'scripts/leak-suppressions.txt')}`,
    },
  },
  // Node is not instrumented: only what is reported with our code on a stack counts.
  thread: {
    script: 'build:tsan',
    directory: 'build-tsan',
    libraries: ['libtsan.so'],
    options: { TSAN_OPTIONS: 'exitcode=0:ignore_noninstrumented_modules=1' },
  },
}

const [kind, ...rest] = process.argv.slice(2)
const sanitizer = kinds[kind]
if (!sanitizer) {
  console.error(
    'usage: node scripts/sanitize.mjs address|thread [VITEST ARGUMENTS...] | leak [PROGRAM...]',
  )
  process.exit(2)
}
const build = spawnSync('npm', ['run', '--silent', sanitizer.script], {
  cwd: packageRoot,
  stdio: 'inherit',
})
if (build.status !== 0) process.exit(build.status ?? 1)

const preload = sanitizer.libraries.map((name) =>
  execFileSync('g++', [`-print-file-name=${name}`], { encoding: 'utf8' }).trim(),
)
const reports = join(packageRoot, sanitizer.directory, 'reports')
rmSync(reports, { recursive: true, force: true })
mkdirSync(reports)
const logPath = `:log_path=${join(reports, 'report')}`
const options = Object.fromEntries(
  Object.entries(sanitizer.options).map(([name, value]) => [name, value + logPath]),
)

const env = {
  ...options,
  LD_PRELOAD: preload.join(':'),
  // node-gyp-build looks below this folder first.
  NODE_KVM_PREBUILD: join(packageRoot, sanitizer.directory),
  // For tests that cannot hold under one, such as those that preload it into a shell.
  NODE_KVM_SANITIZER: kind,
}
// Where addresses are drawn at random from more than its shadow has room for, no program starts with it.
const { stderr } = spawnSync(process.execPath, ['-e', '0'], {
  env: { ...process.env, ...sanitizer.options, LD_PRELOAD: env.LD_PRELOAD },
  encoding: 'utf8',
})
const refused = /unexpected memory mapping|Shadow memory range interleaves/.exec(stderr)
if (refused) {
  console.log(`${kind} sanitizer: not run, as it finds no room here: ${refused[0]}`)
  process.exit(0)
}
// For the processes of isolated machines, which are jailed.
const flags = [
  ...['--read', join(packageRoot, sanitizer.directory, 'build'), '--write', reports],
  ...preload.flatMap((library) => ['--read', library]),
]
const jailed = {
  NODE_KVM_JAILED_FLAGS: JSON.stringify(flags),
  NODE_KVM_JAILED_ENV: JSON.stringify(Object.keys(env)),
  NODE_OPTIONS: `--import=${pathToFileURL(join(packageRoot, 'scripts/lib/jailed-addon.mjs'))}`,
}

const vitest = [join(packageRoot, 'node_modules/vitest/vitest.mjs'), 'run']
const tests = [...vitest, ...(rest.length > 0 ? rest : ['--project', 'kvm'])]
const program = sanitizer.program && rest.length > 0 ? rest : sanitizer.program
// Not through npx: a shell with libtsan in it crashes.
const { status, signal } = spawnSync(process.execPath, program ?? tests, {
  cwd: packageRoot,
  stdio: 'inherit',
  env: { ...process.env, ...env, ...jailed },
})

// Reports are paragraphs; one is ours if our addon is in its stack.
const texts = readdirSync(reports).map((name) => readFileSync(join(reports, name), 'utf8'))
const ours = texts
  .flatMap((text) => text.split(/\n\s*\n|={10,}/))
  .filter((paragraph) => paragraph.includes('node_kvm.node') || paragraph.includes('/native/'))
for (const report of ours) console.error(`\n${report.trim()}`)
// It traces its own process, which containers may forbid, and then ends it with a status of its own.
const untraced = texts.some((text) => text.includes('LeakSanitizer has encountered a fatal error'))
const outcome = untraced ? 'not run, as no process may be traced here' : `${ours.length} reports`
console.log(`${kind} sanitizer: ${outcome}`)
process.exitCode = ((status === 0 && !signal) || untraced) && ours.length === 0 ? 0 : 1
