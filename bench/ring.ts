/**
 * A virtio-blk ring to a file, with no guest: a C program in a process of its own plays the driver, against our device
 * and against the same device loop in C. `node dist/bench/ring.js [--json] [--ops N] [--rounds N] [--poll MICROSECONDS]`
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { openSync, readdirSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { BlockEngineChoice } from '../lib/backends/block/file-channel.js'
import { FileDisk } from '../lib/backends/block/file-disk.js'
import { binding } from '../lib/binding.js'
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_VERSION_1 } from '../lib/devices/virtio/abi.js'
import { VirtioBlock } from '../lib/devices/virtio/block/virtio-block.js'
import * as mmio from '../lib/devices/virtio/transport/virtio-mmio.js'
import { createGuestMemory } from '../lib/memory/mapping.js'
import { print, rounds } from './lib/cli.js'
import { figure, interleave } from './lib/figure.js'
import { nativeProgram } from './lib/native-program.js'
import { ScratchFolder } from './lib/scratch.js'

const SIZE = 512 // entries: three descriptors a request, 128 requests
const DESC = 0x1000
const AVAIL = 0x4000
const USED = 0x5000
const HEAP = 0x10000
const MEMORY = 0x200000
const FILE_MIB = 64
const FILE_BYTES = FILE_MIB * 2 ** 20
const DEPTHS = [1, 32, 128]

const option = (name: string, otherwise: number) => {
  const at = process.argv.indexOf(name)
  return at < 0 ? otherwise : Number(process.argv[at + 1])
}
const operations = option('--ops', 100_000)
const pollMicroseconds = option('--poll', 20)

using folder = new ScratchFolder('disk')
const image = folder.file('disk.img', FILE_MIB)
const program = await nativeProgram('ring-loop')
/** Descriptors 3, 4 and 5 of the C program: memory, kicks, interrupts. */
function run(args: readonly (string | number)[], fds: readonly number[]): ChildProcess {
  return spawn(program, args.map(String), { stdio: ['ignore', 'pipe', 'inherit', ...fds] })
}

async function seconds(driver: ChildProcess): Promise<number> {
  let text = ''
  driver.stdout!.on('data', (chunk) => {
    text += chunk
  })
  const [code] = await once(driver, 'close')
  if (code !== 0) throw new Error(`the driver ended with ${code}`)
  return Number(text)
}

const place = [3, 4, 5, DESC, AVAIL, USED, SIZE]
const drive = (depth: number, fds: readonly number[], ops: number) =>
  seconds(run(['drive', ...place, HEAP, depth, FILE_BYTES / 512, ops], fds))

function memoryFd(name: string): number {
  const fd = readdirSync('/proc/self/fd').find((n) => {
    try {
      return readlinkSync(`/proc/self/fd/${n}`).startsWith(`/memfd:${name}`)
    } catch {
      return false
    }
  })
  return Number(fd)
}

async function ours(depth: number, engine: BlockEngineChoice, ops: number): Promise<number> {
  const name = `ring-${Math.random().toString(36).slice(2)}`
  const memory = createGuestMemory([{ guestAddress: 0, size: MEMORY }], { name })
  const { EventFd } = binding()
  const kick = new EventFd()
  const irq = new EventFd()
  const disk = new FileDisk(image, { engine })
  await disk.open()
  const line = { gsi: 5, assert() {}, deassert() {}, pulse: () => irq.signal() }
  const transport = new mmio.VirtioMmioTransport(
    new VirtioBlock(disk, { queueSize: SIZE, pollMicroseconds }),
    {
      memory,
      irq: line,
    },
  )
  const write = (register: number, value: number) => transport.write(register, 4, value)
  for (const status of [1, 3]) write(mmio.VIRTIO_MMIO_STATUS, status)
  write(mmio.VIRTIO_MMIO_DRIVER_FEATURES, 2 ** VIRTIO_F_EVENT_IDX)
  write(mmio.VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1)
  write(mmio.VIRTIO_MMIO_DRIVER_FEATURES, 2 ** (VIRTIO_F_VERSION_1 - 32))
  write(mmio.VIRTIO_MMIO_STATUS, 0xb)
  write(mmio.VIRTIO_MMIO_QUEUE_NUM, SIZE)
  write(mmio.VIRTIO_MMIO_QUEUE_DESC_LOW, DESC)
  write(mmio.VIRTIO_MMIO_QUEUE_AVAIL_LOW, AVAIL)
  write(mmio.VIRTIO_MMIO_QUEUE_USED_LOW, USED)
  write(mmio.VIRTIO_MMIO_QUEUE_READY, 1)
  write(mmio.VIRTIO_MMIO_STATUS, 0xf)
  kick.watch(() => transport.notify(0))
  kick.ref()
  try {
    return ops / (await drive(depth, [memoryFd(name), kick.fd, irq.fd], ops))
  } finally {
    kick.close()
    irq.close()
    await transport.close()
    await disk.close()
    memory.close()
  }
}

async function peer(depth: number, ops: number): Promise<number> {
  const path = join(folder.path, 'memory')
  writeFileSync(path, new Uint8Array(MEMORY))
  const { EventFd } = binding()
  const kick = new EventFd()
  const irq = new EventFd()
  const fds = [openSync(path, 'r+'), kick.fd, irq.fd]
  const server = run(['serve', ...place, image], fds)
  try {
    return ops / (await drive(depth, fds, ops))
  } finally {
    kick.signal(2 ** 32)
    await once(server, 'close')
    kick.close()
    irq.close()
  }
}

const operationsAt = (depth: number) => (depth === 1 ? Math.ceil(operations / 4) : operations)
// Before it counts, both compilers of JavaScript have had their turn.
for (const depth of DEPTHS) await ours(depth, 'auto', operationsAt(depth))
const samples = await interleave(
  rounds(5),
  DEPTHS.flatMap((depth) => [
    () => ours(depth, 'auto', operationsAt(depth)),
    () => peer(depth, operationsAt(depth)),
  ]),
)
print(
  DEPTHS.map((depth, i) =>
    figure(
      `ring to file, QD ${depth}`,
      '4 KiB reads/s',
      { of: 'ratio', bound: 'at least', value: 0.9 },
      samples[2 * i]!,
      { name: 'the same loop in C, pread', samples: samples[2 * i + 1]! },
    ),
  ),
)
