// npm run coverage: the lines that tests run, of lib/ by V8's counters and of native/ by gcov's, folder by folder.
// Usage: npm run coverage [-- VITEST ARGUMENTS...], `--project unit --project kvm --project hostile` unless given
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { addonEnvironment } from './lib/addon-environment.mjs'
import { packageRoot } from './lib/build-addon.mjs'
import { vitestWith } from './lib/vitest.mjs'

const FOLDERS = ['lib', 'lib/devices', 'lib/devices/virtio/queue', 'lib/boot', 'native']
const BUILD = join(packageRoot, 'build-coverage')
/** The runner ends its processes by a signal, of which gcov's counters would be lost. */
const ENDING = "data:text/javascript,process.on('SIGTERM',()=>process.exit())"

function run(command, args, options = {}) {
  return spawnSync(command, args, { cwd: packageRoot, stdio: 'inherit', ...options })
}

if (run('npm', ['run', '--silent', 'build:coverage']).status !== 0) process.exit(1)
const counters = () => filesIn(BUILD, '.gcda')
for (const file of counters()) rmSync(file)

const tests = vitestWith(process.argv.slice(2))
const { status } = run(process.execPath, [...tests, '--coverage'], {
  env: {
    ...process.env,
    ...addonEnvironment(BUILD, { jailFlags: ['--write', BUILD] }),
    NODE_KVM_V8_FLAGS: `--import=${ENDING}`,
  },
})

/** By file: lines that there are, and those of them that ran. */
const lines = new Map([...ofLibrary(), ...ofNative()])
for (const folder of FOLDERS) {
  const files = [...lines].filter(([name]) => name.startsWith(`${folder}/`))
  const total = files.reduce((sum, [, { total }]) => sum + total, 0)
  const covered = files.reduce((sum, [, { covered }]) => sum + covered, 0)
  const share = total === 0 ? 0 : (100 * covered) / total
  console.log(`${folder.padEnd(26)} ${share.toFixed(2)} % (${covered} of ${total} lines)`)
}
process.exitCode = status ?? 1

function ofLibrary() {
  const file = join(packageRoot, 'coverage/coverage-summary.json')
  if (!existsSync(file)) return []
  return Object.entries(JSON.parse(readFileSync(file, 'utf8')))
    .filter(([name]) => name !== 'total')
    .map(([name, { lines }]) => [relative(packageRoot, name), lines])
}

/** A line of a header is one, however many files include it. */
function ofNative() {
  const ran = new Map()
  for (const counter of counters()) {
    const { stdout } = spawnSync('gcov', ['--json-format', '--stdout', counter], {
      cwd: packageRoot,
      encoding: 'utf8',
      maxBuffer: 2 ** 28,
    })
    for (const { file, lines } of JSON.parse(stdout || '{"files":[]}').files) {
      const name = relative(packageRoot, resolve(packageRoot, file))
      if (!name.startsWith('native/')) continue
      const seen = ran.get(name) ?? new Map()
      ran.set(name, seen)
      for (const { line_number: line, count } of lines)
        seen.set(line, (seen.get(line) ?? 0) + count)
    }
  }
  return [...ran].map(([name, seen]) => {
    const covered = [...seen.values()].filter((count) => count > 0).length
    return [name, { total: seen.size, covered }]
  })
}

function filesIn(folder, end) {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { recursive: true })
    .map((name) => join(folder, String(name)))
    .filter((name) => name.endsWith(end))
}
