// npm run test:sanitize: everything that runs native code under each sanitizer in turn, and the corpora of fuzzing.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { packageRoot } from './lib/build-addon.mjs'

const PROJECTS = ['kvm', 'hostile', 'load', 'unit'].map((name) => `--project=${name}`)
const RUNS = [['address', ...PROJECTS], ['leak'], ['thread', ...PROJECTS]]

const failed = RUNS.filter((args) => {
  const script = join(packageRoot, 'scripts/sanitize.mjs')
  return spawnSync(process.execPath, [script, ...args], { stdio: 'inherit' }).status !== 0
})
console.log(`${RUNS.length - failed.length} passed, ${failed.length} failed`)
process.exitCode = failed.length === 0 ? 0 : 1
