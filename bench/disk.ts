/**
 * A virtio disk under fio in the guest, on one file, against QEMU with an I/O thread: on a tmpfs, against QEMU's io_uring,
 * and on an ext4, against its threads.
 */
import { join } from 'node:path'
import { print, quick, rounds } from './lib/cli.js'
import { FIO_SETTINGS, type FioJob, fioScript, fixedFioScript } from './lib/fio.js'
import { mountPrograms, programs } from './lib/guest-assets.js'
import type { GuestProcess } from './lib/guest-process.js'
import { type Results, session } from './lib/guest-session.js'
import { LoopFolder } from './lib/loop-folder.js'
import {
  type Comparison,
  compareMatches,
  deviceMatches,
  type GuestDisk,
  type Monitor,
  nodeKvmPci,
  qemuQ35,
} from './lib/peers.js'
import { cpuSeconds } from './lib/process-cpu.js'
import { filledFile, ScratchFolder } from './lib/scratch.js'

const FILE_MIB = quick ? 16 : 128
const SECONDS = quick ? 1 : 2
const LIMIT = 120
const WARM_UP_SECONDS = 30
/** Of the ext4, with room for what it keeps besides the file. */
const EXT4_MIB = 2 * FILE_MIB + 32
/** Of the job whose CPU time is taken, and of the one before all others. */
const OPERATIONS = quick ? 100 : 20_000

const jobs: readonly (FioJob & { title: string; unit: string })[] = [
  ...(['read', 'write'] as const).flatMap((direction) =>
    [1, 32].map((depth) => ({
      name: `rand${direction}-qd${depth}`,
      title: `4 KiB random ${direction}, QD ${depth}`,
      unit: 'operations/s',
      rw: `rand${direction}` as const,
      blockSize: '4k',
      depth,
    })),
  ),
  ...(['read', 'write'] as const).map((direction) => ({
    name: `seq${direction}`,
    title: `128 KiB sequential ${direction}`,
    unit: 'MB/s',
    rw: direction,
    blockSize: '128k',
    depth: 8,
  })),
]
const fixed: FioJob = { name: 'fixed', rw: 'randrw', blockSize: '4k', depth: 8 }

/** So that a monitor whose code is compiled as it runs has had it compiled. */
const warmUp: FioJob = { name: 'warm-up', rw: 'randrw', blockSize: '4k', depth: 32 }

const script = `${mountPrograms('/dev/vdb')}
${FIO_SETTINGS}
${fixedFioScript('/dev/vda', warmUp, OPERATIONS, WARM_UP_SECONDS)}
${fioScript('/dev/vda', jobs, SECONDS)}
echo CPU-BEGIN; sleep 1
${fixedFioScript('/dev/vda', fixed, OPERATIONS)}
echo CPU-END; sleep 1`

async function cpuOfFixedJob(guest: GuestProcess): Promise<Results> {
  await guest.waitFor('CPU-BEGIN', LIMIT)
  const before = cpuSeconds(guest.pid)
  await guest.waitFor('CPU-END', LIMIT)
  return new Map([['cpu', cpuSeconds(guest.pid) - before]])
}

using folder = new ScratchFolder()
const image = folder.file('disk.img', FILE_MIB)
const tools = (await programs()).image
const comparisons: readonly Comparison[] = [
  ...jobs.map((job) => ({ ...job, target: { of: 'ratio', bound: 'at least', value: 1 } as const })),
  {
    name: 'cpu',
    title: 'CPU seconds of the process for a fixed I/O job',
    unit: 's',
    target: { of: 'ratio', bound: 'at most', value: 1.2 },
  },
]
const measure = (disk: GuestDisk) => (monitor: Monitor) =>
  session(monitor, script, { disks: [disk, { path: tools, readOnly: true }] }, LIMIT, cpuOfFixedJob)
const onTmpfs = measure({ path: image })
print(await compareMatches(rounds(2), deviceMatches(), onTmpfs, comparisons))
print(await figuresOnExt4())

/** None where no ext4 can be mounted. */
async function figuresOnExt4() {
  let files: LoopFolder
  try {
    files = new LoopFolder(EXT4_MIB)
  } catch (error) {
    process.stderr.write(`ext4 is left out: ${(error as Error).message.split('\n')[0]}\n`)
    return []
  }
  using _files = files
  const path = filledFile(join(files.path, 'disk.img'), FILE_MIB)
  const match = { transport: 'virtio-pci, ext4', ours: nodeKvmPci, peer: qemuQ35 }
  const onExt4 = measure({ path, aio: 'threads' })
  return await compareMatches(rounds(2), [match], onExt4, comparisons, ', aio=threads')
}
