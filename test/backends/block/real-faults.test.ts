import {
  closeSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { FileDiskOptions } from '../../../lib/backends/block/file-disk.js'
import { MemoryDisk } from '../../../lib/backends/block/memory-disk.js'
import * as blk from '../../../lib/devices/virtio/block/abi.js'
import { createGuestMemory } from '../../../lib/memory/mapping.js'
import { BlockRig } from '../../helpers/block-driver.js'
import { nativeMemory } from '../../helpers/guest-memories.js'
import { type LoopFileSystem, loopFileSystem } from '../../helpers/loop-file-system.js'
import { turns, until } from '../../helpers/virtio-driver.js'

const ENGINES = ['io_uring', 'threads', 'js'] as const
const { VIRTIO_BLK_S_OK: OK, VIRTIO_BLK_S_IOERR: IOERR } = blk
const STATUS = 0x70000
const DATA = 0x80000

const probe = loopFileSystem()
if (typeof probe === 'string')
  console.log(`disks on a file system that fails or hangs are not tested: ${probe}`)
else probe.remove()

describe.skipIf(typeof probe === 'string')('a disk on a file system', () => {
  let files: LoopFileSystem
  beforeEach(() => {
    files = loopFileSystem() as LoopFileSystem
  })
  afterEach(() => files.remove())

  const image = (name: string, bytes = 1 << 20) => {
    const path = join(files.path, name)
    writeFileSync(path, Buffer.alloc(bytes, 'd'))
    return path
  }

  const mapped = (name: string) => readFileSync('/proc/self/maps', 'utf8').includes(name)

  async function open(
    path: string,
    options: FileDiskOptions,
    name = 'guest-ram',
  ): Promise<BlockRig> {
    const memory = createGuestMemory([{ guestAddress: 0, size: 0x100000 }], { name })
    const rig = await BlockRig.file(path, memory, options)
    rig.driver.start([blk.VIRTIO_BLK_F_FLUSH], 64)
    return rig
  }

  function write(rig: BlockRig, sector = 0): void {
    rig.memory.fill(STATUS, 1, 0xee)
    rig.queue.add([
      { address: rig.header(blk.VIRTIO_BLK_T_OUT, sector), length: 16 },
      { address: DATA, length: 4096 },
      { address: STATUS, length: 1, writable: true },
    ])
    rig.driver.kick(0)
  }

  it('that hangs for a while answers in the end, while other disks go on', async () => {
    const rigs = await Promise.all(ENGINES.map((engine) => open(image(engine), { engine })))
    const disk = new MemoryDisk(1 << 20)
    await disk.open()
    const other = new BlockRig(disk, nativeMemory([0, 0x100000]))
    other.driver.start()
    files.freeze()
    for (const rig of rigs) write(rig)
    const into = [{ address: DATA, length: 512, writable: true }]
    for (let i = 0; i < 200; i++)
      expect((await other.request(blk.VIRTIO_BLK_T_IN, 0, into)).status).toBe(OK)
    await new Promise((resolve) => setTimeout(resolve, 2000))
    expect(rigs.map((rig) => rig.queue.deviceUsedIdx)).toEqual([0, 0, 0])
    files.thaw()
    await until(() => rigs.every((rig) => rig.queue.deviceUsedIdx === 1), 'the writes')
    expect(rigs.map((rig) => rig.memory.read(STATUS, 1)[0])).toEqual([OK, OK, OK])
    for (const rig of [...rigs, other]) {
      await rig.close()
      expect(rig.errors).toEqual([])
    }
  })

  it('that hangs does not keep its machine from closing, whose memory stays until the I/O is done', async () => {
    const names = ENGINES.map((engine) => `hangs-${engine}-${process.pid}`)
    const paths = ENGINES.map((engine) => image(engine))
    const rigs = await Promise.all(
      ENGINES.map((engine, i) => open(paths[i]!, { engine }, names[i]!)),
    )
    for (const rig of rigs) rig.memory.fill(DATA, 4096, 0x5a)
    files.freeze()
    for (const rig of rigs) write(rig)
    for (const rig of rigs) rig.driver.status = 0
    await turns(20)
    for (const rig of rigs) expect(rig.driver.status).not.toBe(0)
    await Promise.all(rigs.map((rig) => rig.close()))
    expect(names.map(mapped)).toEqual([true, true, true])
    files.thaw()
    await until(() => !names.some(mapped), 'the memory to be given back')
    for (const path of paths)
      expect(new Uint8Array(readFileSync(path).subarray(0, 4096))).toEqual(
        new Uint8Array(4096).fill(0x5a),
      )
    for (const rig of rigs) expect(rig.errors).toEqual([])
  })

  it.each(['io_uring', 'threads'] as const)(
    'is read and written past the page cache by %s, and only where that is possible',
    async (engine) => {
      const rig = await open(image('direct'), { engine, direct: true })
      const flags = readFileSync(`/proc/self/fdinfo/${fdOf(join(files.path, 'direct'))}`, 'utf8')
      expect(Number.parseInt(/flags:\s+(\d+)/.exec(flags)![1]!, 8) & 0o40000).not.toBe(0)
      rig.memory.fill(DATA, 4096, 0x33)
      write(rig, 8)
      await until(() => rig.queue.deviceUsedIdx === 1, 'the write')
      rig.queue.used()
      expect(rig.memory.read(STATUS, 1)[0]).toBe(OK)
      const into = { address: DATA + 0x4000, length: 4096, writable: true }
      expect((await rig.request(blk.VIRTIO_BLK_T_IN, 8, [into])).status).toBe(OK)
      expect(rig.memory.read(DATA + 0x4000, 4096)).toEqual(new Uint8Array(4096).fill(0x33))
      // Memory that direct I/O cannot reach: an error to the guest, and nothing worse.
      const odd = { address: DATA + 1, length: 4096, writable: true }
      expect((await rig.request(blk.VIRTIO_BLK_T_IN, 8, [odd])).status).toBe(IOERR)
      expect((await rig.request(blk.VIRTIO_BLK_T_IN, 8, [into])).status).toBe(OK)
      await rig.close()
    },
  )

  it.each(['io_uring', 'threads'] as const)(
    'whose medium fails gives an error for what is lost, and the rest, by %s',
    async (engine) => {
      const path = image('large', 12 << 20)
      const rig = await open(path, { engine, direct: true })
      files.breakSecondHalf()
      const into = [{ address: DATA, length: 4096, writable: true }]
      const seen: number[] = []
      for (let sector = 0; sector < 24576; sector += 512)
        seen.push((await rig.request(blk.VIRTIO_BLK_T_IN, sector, into)).status)
      expect(seen).toContain(OK)
      expect(seen).toContain(IOERR)
      expect(rig.errors).toEqual([])
      expect(rig.reasons).toEqual([])
      await rig.close()
    },
  )

  it('that is full gives errors, by every engine, until there is room', async () => {
    const filler = image('filler', 1 << 20)
    const rigs = await Promise.all(
      ENGINES.map(async (engine) => {
        const path = join(files.path, engine)
        writeFileSync(path, '')
        truncateSync(path, 64 << 20)
        return open(path, { engine })
      }),
    )
    fill(filler)
    const from = [{ address: DATA, length: 0x40000 }]
    const one = async (rig: BlockRig, at: number) =>
      (await rig.request(blk.VIRTIO_BLK_T_OUT, at, from)).status
    for (const rig of rigs) expect(await one(rig, 0)).toBe(IOERR)
    truncateSync(filler, 4096)
    for (const rig of rigs) {
      expect(await one(rig, 2048)).toBe(OK)
      await rig.close()
    }
  })
})

/** Writes to a file until its file system is full: what was deleted is free once the journal has that, so more than once. */
function fill(path: string): void {
  const fd = openSync(path, 'a')
  const chunk = Buffer.alloc(1 << 16)
  for (let written = 1; written > 0; ) {
    written = 0
    try {
      for (;;) written += writeSync(fd, chunk)
    } catch (error) {
      expect(error).toMatchObject({ code: 'ENOSPC' })
    }
    fsyncSync(fd)
  }
  closeSync(fd)
}

/** A descriptor of this process's own for a file. */
function fdOf(path: string): string {
  for (const fd of readdirSync('/proc/self/fd')) {
    try {
      if (readlinkSync(`/proc/self/fd/${fd}`) === path) return fd
    } catch {
      // closed meanwhile
    }
  }
  throw new Error(`${path} is not open`)
}
