/** Boot time: from a process's start, and from `VirtualMachine.create` in a warm process, to the guest's init. */
import { readFile } from 'node:fs/promises'
import { keptVmlinux } from '../lib/machine/kept-kernel.js'
import { print, rounds } from './lib/cli.js'
import { type Figure, figure, interleave, type Target } from './lib/figure.js'
import { benchmarkGuest } from './lib/guest-assets.js'
import { GuestHere } from './lib/guest-here.js'
import { GuestProcess, INIT_MARKER } from './lib/guest-process.js'
import {
  type GuestSpec,
  hasKvmtool,
  kvmtool,
  type Monitor,
  nodeKvm,
  nodeKvmOnce,
  nodeKvmPci,
  qemuMicrovm,
  qemuMicrovmTuned,
  qemuQ35,
} from './lib/peers.js'

const VCPUS = [1, 2]

/** Seconds from the start of a monitor's process to init. */
async function fromProcessStart(monitor: Monitor, guest: GuestSpec): Promise<number> {
  await using process = new GuestProcess(monitor.command(guest))
  return (await process.waitFor(INIT_MARKER)) / 1000
}

/** Seconds from `create` to init, in this process. */
async function fromCreate(spec: GuestSpec): Promise<number> {
  const start = performance.now()
  await using guest = await GuestHere.create(spec)
  await guest.vm.start()
  await guest.said(INIT_MARKER)
  return (performance.now() - start) / 1000
}

const guest = await benchmarkGuest('nodekvm.mode=none')
await fromCreate(guest) // what the process does once only
await readFile(await keptVmlinux(guest.kernel)) // what is done once for a kernel; all others are in the page cache by now
const targets = new Map<Monitor, Target>([
  [qemuMicrovm, { of: 'ratio', bound: 'at most', value: 1 }],
  [qemuQ35, { of: 'ratio', bound: 'at most', value: 0.7 }],
  [kvmtool, { of: 'ratio', bound: 'at most', value: 1 }],
])
// The tuned one, without a target, is a bar to come near to, not what people run.
const qemus = [qemuMicrovm, qemuQ35, qemuMicrovmTuned]
// kvmtool tells of processors by an MP table alone, which Debian's cloud kernel does not read: its guest has one.
const peersWith = (cpus: number) => (cpus === 1 && hasKvmtool() ? [...qemus, kvmtool] : qemus)
const figures: Figure[] = []
for (const cpus of VCPUS) {
  const spec = { ...guest, cpus }
  const peers = peersWith(cpus)
  const [mmio, pci, once, ...theirs] = await interleave(
    rounds(3),
    [nodeKvm, nodeKvmPci, nodeKvmOnce, ...peers].map(
      (monitor) => () => fromProcessStart(monitor, spec),
    ),
  )
  for (const [how, ours] of [
    ['virtio-mmio', mmio],
    ['virtio-pci', pci],
    ['virtio-mmio, kernel unpacked once', once],
  ] as const) {
    const name = `process start to init, ${cpus} vCPU, ${how}`
    for (const [i, peer] of peers.entries()) {
      const against = { name: peer.name, samples: theirs[i]! }
      figures.push(figure(name, 's', targets.get(peer), ours!, against))
    }
  }
}
const [warm, q35] = await interleave(rounds(3), [
  () => fromCreate(guest),
  () => fromProcessStart(qemuQ35, guest),
])
figures.push(
  figure(
    'create in a warm process to init',
    's',
    { of: 'ratio', bound: 'at most', value: 0.7 },
    warm!,
    {
      name: qemuQ35.name,
      samples: q35!,
    },
  ),
)
print(figures)
