/**
 * A virtio-blk ring to a file, with no guest: a C program in a process of its own plays the driver, against our device
 * and against the same device loop in C. `node dist/bench/ring.js [--json] [--ops N] [--rounds N] [--poll MICROSECONDS]`
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { BlockEngineChoice } from '../lib/backends/block/file-channel.js'
import { FileDisk } from '../lib/backends/block/file-disk.js'
import { binding } from '../lib/binding.js'
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_VERSION_1 } from '../lib/devices/virtio/abi.js'
import { VirtioBlock } from '../lib/devices/virtio/block/virtio-block.js'
import * as mmio from '../lib/devices/virtio/transport/virtio-mmio.js'
import { createGuestMemory } from '../lib/memory/mapping.js'

const SIZE = 512 // entries: three descriptors a request, 128 requests
const DESC = 0x1000
const AVAIL = 0x4000
const USED = 0x5000
const HEAP = 0x10000
const MEMORY = 0x200000
const FILE_BYTES = 64 * 2 ** 20
const DEPTHS = [1, 32, 128]

const option = (name: string, otherwise: number) => {
  const at = process.argv.indexOf(name)
  return at < 0 ? otherwise : Number(process.argv[at + 1])
}
const operations = option('--ops', 100_000)
const rounds = option('--rounds', 5)
const pollMicroseconds = option('--poll', 20)
const json = process.argv.includes('--json')

const folder = mkdtempSync(join(process.env.RING_FOLDER ?? tmpdir(), 'node-kvm-ring-'))
const program = join(folder, 'ring-loop')
const image = join(folder, 'disk.img')
const source = [
  new URL('./native/ring-loop.c', import.meta.url),
  new URL('../../bench/native/ring-loop.c', import.meta.url),
]
  .map((url) => fileURLToPath(url))
  .find((path) => existsSync(path))!

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
  const path = join(folder, 'memory')
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

const median = (values: readonly number[]) =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!

try {
  execFileSync('cc', ['-O2', '-Wall', '-o', program, source], { stdio: 'inherit' })
  writeFileSync(image, Buffer.alloc(FILE_BYTES, 'x'))
  const figures = []
  for (const depth of DEPTHS) {
    const ops = depth === 1 ? Math.ceil(operations / 4) : operations
    await ours(depth, 'auto', ops) // both compilers of JavaScript have had their turn
    const mine: number[] = []
    const theirs: number[] = []
    for (let round = 0; round < rounds; round++) {
      mine.push(await ours(depth, 'auto', ops))
      theirs.push(await peer(depth, ops))
    }
    const ratio = median(mine) / median(theirs)
    figures.push({
      name: `ring-to-file-qd${depth}`,
      unit: '4 KiB reads/s',
      ours: Math.round(median(mine)),
      peer: Math.round(median(theirs)),
      peerName: 'the same loop in C, pread',
      ratio: Number(ratio.toFixed(3)),
      target: 0.9,
      met: ratio >= 0.9,
      spread: Number(((Math.max(...mine) - Math.min(...mine)) / median(mine)).toFixed(3)),
    })
  }
  if (json) console.log(JSON.stringify(figures))
  else console.table(figures)
} finally {
  rmSync(folder, { recursive: true })
}
