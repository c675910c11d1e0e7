// npm run test:asan, test:tsan: builds the addon with sanitizers and runs tests with it.
// Usage: node scripts/sanitize.mjs address|thread [VITEST ARGUMENTS...], `--project kvm` unless given
//        node scripts/sanitize.mjs leak [PROGRAM...], scripts/leak-cycles.mjs unless given
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { addonEnvironment } from './lib/addon-environment.mjs'
import { packageRoot } from './lib/build-addon.mjs'
import { vitestWith } from './lib/vitest.mjs'

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
const directory = join(packageRoot, sanitizer.directory)
const reports = join(directory, 'reports')
rmSync(reports, { recursive: true, force: true })
mkdirSync(reports)
const logPath = `:log_path=${join(reports, 'report')}`
const options = Object.fromEntries(
  Object.entries(sanitizer.options).map(([name, value]) => [name, value + logPath]),
)

const LD_PRELOAD = preload.join(':')
// Where addresses are drawn at random from more than its shadow has room for, no program starts with it.
const { stderr } = spawnSync(process.execPath, ['-e', '0'], {
  env: { ...process.env, ...sanitizer.options, LD_PRELOAD },
  encoding: 'utf8',
})
const refused = /unexpected memory mapping|Shadow memory range interleaves/.exec(stderr)
if (refused) {
  console.log(`${kind} sanitizer: not run, as it finds no room here: ${refused[0]}`)
  process.exit(0)
}
const env = addonEnvironment(directory, {
  // NODE_KVM_SANITIZER is for tests that cannot hold under one, such as those that preload it into a shell.
  variables: { ...options, LD_PRELOAD, NODE_KVM_SANITIZER: kind },
  jailFlags: [
    ...['--read', join(directory, 'build'), '--write', reports],
    ...preload.flatMap((library) => ['--read', library]),
  ],
})

const program = sanitizer.program && rest.length > 0 ? rest : sanitizer.program
const { status, signal } = spawnSync(process.execPath, program ?? vitestWith(rest, ['kvm']), {
  cwd: packageRoot,
  stdio: 'inherit',
  env: { ...process.env, ...env },
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
