// npm run test:sanitize: everything that runs native code under each sanitizer, and the corpora of fuzzing. Those that
// share a build take turns; the others run beside them, and their output comes after.
// Usage: npm run test:sanitize [-- --part], which is what continuous integration has time for: each over the tests that
// do the most to memory, descriptors or threads
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { packageRoot } from './lib/build-addon.mjs'
import { beside } from './lib/held-output.mjs'
import { projectArguments } from './lib/vitest.mjs'

const PROJECTS = projectArguments(['kvm', 'hostile', 'load', 'unit'])
const ALL = [['address', ...PROJECTS], ['leak'], ['thread', ...PROJECTS]]
const TESTS = projectArguments(['kvm', 'hostile', 'unit'])
const PART = [
  [
    ...['address', ...TESTS],
    ...['test/native/', 'test/memory/mapping.', 'test/interrupt/', 'test/hostile/pci.'],
    ...['bad-input', 'every-ioctl', 'lifetimes', 'shortcuts'].map((name) => `test/kvm/${name}.`),
    ...['file-disk', 'other-disks', 'real-faults'].map((name) => `test/backends/block/${name}.`),
    ...['test/backends/net/tap.', 'test/isolation/isolated.'],
    ...['attached-devices', 'devices', 'lifecycle', 'memory', 'pci', 'reset', 'virtio-mem'].map(
      (name) => `test/machine/${name}.kvm.`,
    ),
  ],
  ['leak'],
  [
    ...['thread', ...TESTS],
    ...['test/native/block-engine.', 'test/native/exit-channel.', 'test/interrupt/'],
    ...['test/kvm/lifetimes.', 'test/kvm/shortcuts.', 'test/devices/serial/uart-threads.'],
    ...['test/backends/block/file-disk.', 'test/backends/net/tap.'],
    ...['attached-devices', 'run-loop', 'run-loop-state'].map(
      (name) => `test/machine/${name}.kvm.`,
    ),
  ],
]

const [part, ...rest] = process.argv.slice(2)
if ((part ?? '--part') !== '--part' || rest.length > 0) {
  console.error('usage: npm run test:sanitize [-- --part]')
  process.exit(2)
}
const runs = part ? PART : ALL
/** @returns {Promise<boolean>} whether it passed */
function sanitize(args, output) {
  const script = join(packageRoot, 'scripts/sanitize.mjs')
  const child = spawn(process.execPath, [script, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  for (const stream of [child.stdout, child.stderr]) stream.pipe(output, { end: false })
  return new Promise((resolve, reject) => {
    child.once('error', reject).once('close', (status) => resolve(status === 0))
  })
}

/** @returns {Promise<number>} how many failed */
async function inTurn(some, output) {
  let failed = 0
  for (const args of some) if (!(await sanitize(args, output))) failed++
  return failed
}

const isThread = ([kind]) => kind === 'thread'
const [address, thread] = await beside(
  (output) =>
    inTurn(
      runs.filter((run) => !isThread(run)),
      output,
    ),
  (output) => inTurn(runs.filter(isThread), output),
)
const failed = address + thread
console.log(`${runs.length - failed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
