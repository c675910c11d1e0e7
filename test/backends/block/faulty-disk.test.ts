import { describe, expect, it } from 'vitest'
import type { DiskFault } from '../../../lib/backends/block/disk-fault.js'
import { FaultyDisk } from '../../../lib/backends/block/faulty-disk.js'
import { MemoryDisk } from '../../../lib/backends/block/memory-disk.js'
import * as blk from '../../../lib/devices/virtio/block/abi.js'
import { blockBackendContract } from '../../contracts/block-backend.js'
import { BlockRig } from '../../helpers/block-driver.js'
import { nativeMemory } from '../../helpers/guest-memories.js'
import { turns, until } from '../../helpers/virtio-driver.js'

const SIZE = 512 * 256
const { VIRTIO_BLK_T_IN: IN, VIRTIO_BLK_T_OUT: OUT, VIRTIO_BLK_T_FLUSH: FLUSH } = blk
const { VIRTIO_BLK_S_OK: OK, VIRTIO_BLK_S_IOERR: IOERR } = blk
const DATA = 0x80000
const into = (length = 512) => [{ address: DATA, length, writable: true }]
const from = (length = 512) => [{ address: DATA, length }]

blockBackendContract('FaultyDisk with no faults', {
  engine: 'io_uring',
  memory: () => nativeMemory([0, 0x200000]),
  async create() {
    const disk = new FaultyDisk(new MemoryDisk(SIZE))
    await disk.open()
    return disk
  },
})

blockBackendContract('FaultyDisk that takes its time', {
  engine: 'threads',
  memory: () => nativeMemory([0, 0x200000]),
  async create() {
    const late: DiskFault[] = [1, 0, 3].map((delay, i) => ({
      nth: i + 1,
      count: i === 2 ? 200 : 1,
      delay,
    }))
    const disk = new FaultyDisk(new MemoryDisk(SIZE, { engine: 'threads' }), late)
    await disk.open()
    return disk
  },
})

async function rigOf(faults: readonly DiskFault[] = []): Promise<BlockRig> {
  const disk = new FaultyDisk(new MemoryDisk(new Uint8Array(SIZE).fill(7)), faults)
  await disk.open()
  const rig = new BlockRig(disk, nativeMemory([0, 0x100000]), { queues: 2 })
  rig.driver.start([blk.VIRTIO_BLK_F_FLUSH, blk.VIRTIO_BLK_F_MQ], 64)
  return rig
}

const statuses = async (rig: BlockRig, ...types: number[]) => {
  const seen: number[] = []
  for (const type of types) {
    const data = type === IN ? into() : type === OUT ? from() : []
    seen.push((await rig.request(type, 1, data)).status)
  }
  return seen
}

describe('FaultyDisk', () => {
  it('fails the operations that it was told to, as often as it was told to', async () => {
    const rig = await rigOf([
      { on: 'write', nth: 2, count: 2, error: 'ENOSPC' },
      { nth: 8, count: Number.POSITIVE_INFINITY, error: 'EIO' },
    ])
    const given = await statuses(rig, OUT, OUT, IN, OUT, OUT, IN, IN, IN, OUT)
    expect(given).toEqual([OK, IOERR, OK, IOERR, OK, OK, OK, IOERR, IOERR])
    expect((rig.backend as FaultyDisk).counters).toEqual({ operations: 9, faults: 4 })
    await rig.close()
  })

  it('moves a part of the data before it fails', async () => {
    const rig = await rigOf([
      { on: 'read', bytes: 700 },
      { on: 'write', bytes: 512 },
    ])
    rig.memory.fill(DATA, 2048, 0xee)
    expect((await rig.request(IN, 0, into(1024))).status).toBe(IOERR)
    const read = new Uint8Array(1024).fill(7, 0, 700).fill(0xee, 700)
    expect(rig.memory.read(DATA, 1024)).toEqual(read)
    rig.memory.fill(DATA, 2048, 1)
    expect((await rig.request(OUT, 0, from(1024))).status).toBe(IOERR)
    expect((await rig.request(IN, 0, into(1024))).status).toBe(OK)
    expect(rig.memory.read(DATA, 1024)).toEqual(new Uint8Array(1024).fill(1, 0, 512).fill(7, 512))
    await rig.close()
  })

  it('claims no success after a flush that failed, until it is opened anew', async () => {
    const rig = await rigOf([{ on: 'flush', nth: 2, error: 'EIO' }])
    expect(await statuses(rig, FLUSH, FLUSH, OUT, FLUSH)).toEqual([OK, IOERR, OK, IOERR])
    rig.driver.start([blk.VIRTIO_BLK_F_FLUSH], 64)
    expect(await statuses(rig, FLUSH, IN)).toEqual([IOERR, OK])
    await rig.close()
    await rig.backend.open()
    const again = new BlockRig(rig.backend, nativeMemory([0, 0x100000]))
    again.driver.start([blk.VIRTIO_BLK_F_FLUSH], 64)
    expect(await statuses(again, FLUSH)).toEqual([OK])
    await again.close()
  })

  it('is as slow as it was told to be, and serves others meanwhile', async () => {
    const rig = await rigOf()
    const disk = rig.backend as FaultyDisk
    const mend = disk.inject({ on: 'read', delay: 30 })
    rig.queue.add([
      { address: rig.header(IN, 0), length: 16 },
      ...into(),
      { address: 0x70000, length: 1, writable: true },
    ])
    rig.driver.kick(0)
    rig.driver.queues[1]!.add([
      { address: rig.header(OUT, 9), length: 16 },
      ...from(),
      { address: 0x70001, length: 1, writable: true },
    ])
    rig.driver.kick(1)
    await until(() => rig.driver.queues[1]!.deviceUsedIdx === 1, 'the write')
    await until(() => rig.queue.deviceUsedIdx === 1, 'the late read')
    mend()
    mend()
    rig.queue.used()
    expect(await statuses(rig, IN)).toEqual([OK])
    await rig.close()
  })

  it('that never answers holds a reset up, and ends with its machine', async () => {
    const rig = await rigOf([{ on: 'read', delay: Number.POSITIVE_INFINITY }])
    rig.queue.add([
      { address: rig.header(IN, 0), length: 16 },
      ...into(),
      { address: 0x70000, length: 1, writable: true },
    ])
    rig.driver.kick(0)
    rig.driver.status = 0
    await turns(20)
    expect(rig.driver.status).not.toBe(0)
    await rig.close()
    expect(rig.errors).toEqual([])
  })

  it.each<[string, unknown]>([
    ['fault', 5],
    ['fault', null],
    ['fault.on', { on: 'erase' }],
    ['fault.nth', { nth: 0 }],
    ['fault.nth', { nth: Number.POSITIVE_INFINITY }],
    ['fault.count', { count: 1.5 }],
    ['fault.delay', { delay: -1 }],
    ['fault.delay', { delay: 2 ** 31 }],
    ['fault.error', { error: 'EWRONG' }],
    ['fault.error', { error: 5 }],
    ['fault.bytes', { bytes: '1' }],
    ['fault.every', { every: 2 }],
  ])('refuses %s of %j', (option, fault) => {
    const disk = new FaultyDisk(new MemoryDisk(SIZE))
    expect(() => disk.inject(fault as DiskFault)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION', option }),
    )
  })

  it('refuses to be made of anything else', () => {
    expect(() => new FaultyDisk('disk.img' as never)).toThrow(/disk: expected a disk/)
    expect(() => new FaultyDisk(new MemoryDisk(SIZE), {} as never)).toThrow(/faults/)
    expect(() => new FaultyDisk(new MemoryDisk(SIZE), [{ nth: -1 }])).toThrow(/faults\[0\].nth/)
  })
})
