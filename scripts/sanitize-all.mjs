// npm run test:sanitize: everything that runs native code under each sanitizer in turn, and the corpora of fuzzing.
// Usage: npm run test:sanitize [-- --part], which is what continuous integration has time for: each over the tests that
// do the most to memory, descriptors or threads
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { packageRoot } from './lib/build-addon.mjs'
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
const failed = runs.filter((args) => {
  const script = join(packageRoot, 'scripts/sanitize.mjs')
  return spawnSync(process.execPath, [script, ...args], { stdio: 'inherit' }).status !== 0
})
console.log(`${runs.length - failed.length} passed, ${failed.length} failed`)
process.exitCode = failed.length === 0 ? 0 : 1
