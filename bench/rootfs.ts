/**
 * Start of a machine with a folder as its root, as `node-kvm run --rootfs` makes one, without a snapshot: in a process
 * that has had one before, from `VirtualMachine.create` to the result of the first program.
 */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { VirtualMachine } from '../lib/index.js'
import { openRootfs } from '../lib/rootfs.js'
import { busyboxAsset } from '../lib/testing.js'
import { overheard, print, rounds } from './lib/cli.js'
import { figure } from './lib/figure.js'
import { ScratchFolder } from './lib/scratch.js'

/** Milliseconds for anything. */
const LIMIT = 120_000

using scratch = new ScratchFolder()
const tree = join(scratch.path, 'tree')
mkdirSync(join(tree, 'bin'), { recursive: true })
writeFileSync(join(tree, 'bin/busybox'), await busyboxAsset())
chmodSync(join(tree, 'bin/busybox'), 0o755)

async function run(): Promise<{ image: number; result: number }> {
  const started = performance.now()
  await using rootfs = await openRootfs(tree)
  const made = performance.now()
  await using vm = await VirtualMachine.create({
    ...rootfs.machine,
    agent: { startTimeout: LIMIT },
  })
  vm.console.output.on('data', overheard)
  await vm.start()
  await vm.exec(['/bin/busybox', 'true'], { timeout: LIMIT })
  return { image: made - started, result: performance.now() - made }
}

await run() // what a process does once only
const runs: { image: number; result: number }[] = []
for (let i = rounds(5); i > 0; i--) runs.push(await run())
const samples = (of: 'image' | 'result') => runs.map((run) => run[of] / 1000)
print([
  figure('image of a root file system, a folder with busybox', 's', undefined, samples('image')),
  figure(
    'create in a warm process to the first result, --rootfs',
    's',
    undefined,
    samples('result'),
  ),
])
