import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { CustomDisk, type DiskProvider } from '../../../lib/backends/block/custom-disk.js'
import { MemoryDisk } from '../../../lib/backends/block/memory-disk.js'
import { OverlayDisk } from '../../../lib/backends/block/overlay-disk.js'
import { SectorSet } from '../../../lib/backends/block/sector-set.js'
import * as blk from '../../../lib/devices/virtio/block/abi.js'
import { blockBackendContract } from '../../contracts/block-backend.js'
import { BlockRig } from '../../helpers/block-driver.js'
import { nativeMemory, plainMemory } from '../../helpers/guest-memories.js'

const SIZE = 512 * 256
const into = [{ address: 0x80000, length: 512, writable: true }]

for (const engine of ['io_uring', 'threads', 'js'] as const) {
  blockBackendContract(`MemoryDisk by ${engine}`, {
    engine,
    memory: () => (engine === 'js' ? plainMemory([0, 0x200000]) : nativeMemory([0, 0x200000])),
    async create() {
      const disk = new MemoryDisk(SIZE, { engine })
      await disk.open()
      return disk
    },
  })
}

const folder = mkdtempSync(join(tmpdir(), 'node-kvm-disks-'))
afterAll(() => rmSync(folder, { recursive: true }))

blockBackendContract('OverlayDisk', {
  engine: 'overlay',
  memory: () => nativeMemory([0, 0x200000]),
  async create() {
    const path = join(folder, 'base.img')
    writeFileSync(path, '')
    truncateSync(path, SIZE)
    const disk = new OverlayDisk(path)
    await disk.open()
    return disk
  },
})

/** A provider over an array, that takes its time. */
function provider(overrides: Partial<DiskProvider> = {}): DiskProvider {
  const bytes = new Uint8Array(SIZE)
  const pause = () => new Promise((resolve) => setTimeout(resolve, Math.random() * 2))
  return {
    size: SIZE,
    async read(offset, length) {
      await pause()
      return bytes.slice(offset, offset + length)
    },
    async write(offset, data) {
      await pause()
      bytes.set(data, offset)
    },
    async flush() {
      await pause()
    },
    ...overrides,
  }
}

blockBackendContract('CustomDisk', {
  engine: 'custom',
  memory: () => nativeMemory([0, 0x200000]),
  async create() {
    const disk = new CustomDisk(provider())
    await disk.open()
    return disk
  },
})

describe('MemoryDisk', () => {
  it('starts with the contents given, which stay as they were', async () => {
    const contents = new Uint8Array(1024).fill(7)
    const disk = new MemoryDisk(contents)
    await disk.open()
    const rig = new BlockRig(disk, nativeMemory([0, 0x100000]))
    rig.driver.start()
    expect((await rig.request(blk.VIRTIO_BLK_T_IN, 1, into)).status).toBe(0)
    expect(rig.memory.read(0x80000, 512)).toEqual(new Uint8Array(512).fill(7))
    rig.memory.fill(0x80000, 512, 9)
    expect(
      (await rig.request(blk.VIRTIO_BLK_T_OUT, 1, [{ address: 0x80000, length: 512 }])).status,
    ).toBe(0)
    expect(contents.every((byte) => byte === 7)).toBe(true)
    await rig.close()
  })

  it.each([0, 511, -512, 1.5, Number.NaN, 2 ** 53, new Uint8Array(100)])(
    'refuses %j',
    (contents) => {
      expect(() => new MemoryDisk(contents)).toThrow(
        expect.objectContaining({ code: 'ERR_INVALID_OPTION' }),
      )
    },
  )
})

describe('CustomDisk', () => {
  async function rigOf(overrides: Partial<DiskProvider>): Promise<BlockRig> {
    const disk = new CustomDisk(provider(overrides))
    await disk.open()
    const rig = new BlockRig(disk, nativeMemory([0, 0x100000]))
    rig.driver.start()
    return rig
  }

  it.each<[string, DiskProvider['read']]>([
    ['rejects', () => Promise.reject(new Error('no'))],
    [
      'throws',
      () => {
        throw new Error('no')
      },
    ],
    ['gives too little', async (_offset, length) => new Uint8Array(length - 1)],
    ['gives too much', async (_offset, length) => new Uint8Array(length + 1)],
    ['gives something else', async () => 'data' as unknown as Uint8Array],
    ['gives nothing at all', (() => undefined) as unknown as DiskProvider['read']],
  ])('whose read %s gives the guest an I/O error, and nothing else', async (_name, read) => {
    const rig = await rigOf({ read })
    const before = rig.memory.read(0x80000, 512)
    expect((await rig.request(blk.VIRTIO_BLK_T_IN, 0, into)).status).toBe(blk.VIRTIO_BLK_S_IOERR)
    expect(rig.memory.read(0x80000, 512)).toEqual(before)
    expect(
      (await rig.request(blk.VIRTIO_BLK_T_OUT, 0, [{ address: 0x80000, length: 512 }])).status,
    ).toBe(0)
    expect(rig.errors).toEqual([])
    await rig.close()
  })

  it('that fails to flush once claims no later success', async () => {
    let flushes = 0
    const rig = await rigOf({
      async flush() {
        if (flushes++ === 1) throw new Error('lost')
      },
    })
    const flush = async () => (await rig.request(blk.VIRTIO_BLK_T_FLUSH, 0, [])).status
    expect([await flush(), await flush(), await flush(), await flush()]).toEqual([0, 1, 1, 1])
    rig.driver.status = 0
    rig.driver.start()
    expect(await flush()).toBe(1)
    await rig.close()
  })

  it('without write is read-only', async () => {
    const { write: _, ...readable } = provider()
    const disk = new CustomDisk(readable)
    expect(disk.readOnly).toBe(true)
  })

  it('that never answers does not hold up close, and writes to no memory afterwards', async () => {
    let answer!: (data: Uint8Array) => void
    let aborted = false
    const rig = await rigOf({
      read: (_offset, _length, signal) =>
        new Promise((resolve) => {
          answer = resolve
          signal.addEventListener('abort', () => {
            aborted = true
          })
        }),
    })
    const at = rig.driver.allocator.take(1)
    rig.queue.add([
      { address: rig.header(blk.VIRTIO_BLK_T_IN, 0), length: 16 },
      ...into,
      { address: at, length: 1, writable: true },
    ])
    rig.driver.kick(0)
    await rig.transport.close()
    expect(aborted).toBe(true)
    answer(new Uint8Array(512).fill(1))
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(rig.memory.read(0x80000, 512)).toEqual(new Uint8Array(512))
    await rig.close()
  })

  it.each([
    [{ size: 0 }, 'size'],
    [{ size: 1000 }, 'size'],
    [{ size: '1G' }, 'size'],
    [{ read: undefined }, 'read'],
  ])('refuses %j', (overrides, option) => {
    expect(() => new CustomDisk({ ...provider(), ...overrides } as DiskProvider)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION', option }),
    )
  })
})

describe('OverlayDisk', () => {
  it('leaves its image alone, shares it, and forgets', async () => {
    const path = join(folder, 'shared.img')
    writeFileSync(path, Buffer.alloc(512 * 64, 'b'))
    const disks = [new OverlayDisk(path), new OverlayDisk(path)]
    for (const disk of disks) await disk.open()
    const [one, two] = disks.map((disk) => {
      const rig = new BlockRig(disk, nativeMemory([0, 0x100000]))
      rig.driver.start()
      return rig
    }) as [BlockRig, BlockRig]
    one.memory.fill(0x80000, 1024, 0x31)
    expect(
      (await one.request(blk.VIRTIO_BLK_T_OUT, 3, [{ address: 0x80000, length: 1024 }])).status,
    ).toBe(0)
    const eight = [{ address: 0x90000, length: 8 * 512, writable: true }]
    for (const rig of [one, two])
      expect((await rig.request(blk.VIRTIO_BLK_T_IN, 0, eight)).status).toBe(0)
    const base = new Uint8Array(8 * 512).fill(0x62)
    expect(two.memory.read(0x90000, 8 * 512)).toEqual(base)
    expect(one.memory.read(0x90000, 8 * 512)).toEqual(base.slice().fill(0x31, 3 * 512, 5 * 512))
    await one.close()
    await two.close()
    expect(readFileSync(path)).toEqual(Buffer.alloc(512 * 64, 'b'))
  })
})

describe('SectorSet', () => {
  it('agrees with a set', () => {
    const range = fc.tuple(fc.nat(70_000), fc.integer({ min: 1, max: 40 }))
    fc.assert(
      fc.property(fc.array(range, { maxLength: 20 }), range, (added, [first, count]) => {
        const set = new SectorSet()
        const model = new Set<number>()
        for (const [sector, length] of added) {
          set.add(sector * 512, length * 512)
          for (let i = 0; i < length; i++) model.add(sector + i)
        }
        const runs = set.runs(first * 512, count * 512)
        const sectors = runs.flatMap((run) =>
          Array.from({ length: run.length / 512 }, (_, i) => [run.offset / 512 + i, run.inside]),
        )
        expect(sectors).toEqual(
          Array.from({ length: count }, (_, i) => [first + i, model.has(first + i)]),
        )
      }),
    )
  })
})
