import { expect } from 'vitest'
import { VIRTIO_F_INDIRECT_DESC, VIRTIO_F_VERSION_1 } from '../../../lib/devices/virtio/abi.js'
import * as blk from '../../../lib/devices/virtio/block/abi.js'
import * as mmio from '../../../lib/devices/virtio/transport/virtio-mmio.js'
import { type Bench, DISK_SIZE } from '../bench.js'
import { Disk } from '../block.js'
import type { Buffer } from '../device.js'
import { DATA, HEADERS, type Ring, STATUSES, script, TABLE } from '../ring.js'
import { Script } from '../script.js'
import { MEMORY } from '../script-guest.js'
import type { Case } from './case.js'

const { VIRTIO_BLK_T_IN: IN, VIRTIO_BLK_T_OUT: OUT } = blk
const { VIRTIO_BLK_S_OK: OK, VIRTIO_BLK_S_IOERR: IOERR, VIRTIO_BLK_S_UNSUPP: UNSUPP } = blk
const UNTOUCHED = 0xee
const SECTORS = DISK_SIZE / 512
const RANGES = [
  VIRTIO_F_VERSION_1,
  VIRTIO_F_INDIRECT_DESC,
  blk.VIRTIO_BLK_F_DISCARD,
  blk.VIRTIO_BLK_F_WRITE_ZEROES,
]

interface Request {
  readonly type: number
  readonly sector: number | bigint
  readonly data: readonly Buffer[]
}

interface Circumstances {
  readonly disk?: 'block' | 'readOnly'
  readonly features?: readonly number[]
  /** What the driver does before. */
  readonly prepare?: Script
}

/** A request that ends in a status; the disk goes on. */
function answered(
  id: string,
  title: string,
  status: number,
  { type, sector, data }: Request,
  { disk: name, features = RANGES, prepare = new Script() }: Circumstances = {},
): Case {
  return {
    id,
    title,
    play: async (bench) => {
      const disk = new Disk(bench, name)
      const [ring] = await disk.start(features)
      await bench.run(prepare)
      expect(await disk.request(ring!, type, sector, data)).toBe(status)
      await disk.expectRunning()
    },
  }
}

/** A chain that is given back with nothing written. */
function dropped(id: string, title: string, buffers: readonly Buffer[]): Case {
  return {
    id,
    title,
    play: async (bench) => {
      const disk = new Disk(bench)
      const [ring] = await disk.start()
      bench.memory.fill(STATUSES, 1, UNTOUCHED)
      await bench.run(script(disk.header(IN, 0), disk.submit(ring!, buffers)))
      await disk.waitUsed(ring!)
      const entry = bench.memory.dataView(Number(ring!.deviceArea) + 4, 8)
      expect(entry.getUint32(4, true)).toBe(0)
      expect(bench.memory.read(STATUSES, 1)[0]).toBe(UNTOUCHED)
      await disk.expectRunning()
    },
  }
}

const header: Buffer = { address: HEADERS, length: 16 }
const status: Buffer = { address: STATUSES, length: 1, write: true }
const into = (length: number): Buffer[] => [{ address: DATA, length, write: true }]
const from = (length: number): Buffer[] => [{ address: DATA, length }]
const range = (sector: number | bigint, sectors: number, flags: number) =>
  new Script()
    .store(DATA, 8, sector)
    .store(DATA + 8, 4, sectors)
    .store(DATA + 12, 4, flags)

function ranged(
  id: string,
  title: string,
  expected: number,
  type: number,
  prepare: Script,
  bytes = 16,
): Case {
  const data = bytes === 0 ? [] : from(bytes)
  return answered(id, title, expected, { type, sector: 0, data }, { prepare })
}

const { VIRTIO_BLK_T_DISCARD: DISCARD, VIRTIO_BLK_T_WRITE_ZEROES: ZEROES } = blk

export const block: readonly Case[] = [
  dropped('BLK-01', 'a header that is short by a byte', [{ address: HEADERS, length: 15 }, status]),
  {
    id: 'BLK-01',
    title: 'a header in 16 descriptors',
    play: async (bench) => {
      const disk = new Disk(bench)
      const [ring] = await disk.start(undefined, 1, 32)
      const pieces = Array.from({ length: 16 }, (_, i) => ({ address: HEADERS + i, length: 1 }))
      await bench.run(
        script(
          disk.header(IN, 3),
          new Script().store(STATUSES, 1, UNTOUCHED),
          disk.submit(ring!, [...pieces, ...into(512), status]),
        ),
      )
      await disk.waitUsed(ring!)
      expect(bench.memory.read(STATUSES, 1)[0]).toBe(OK)
    },
  },
  dropped('BLK-02', 'no status', [header]),
  dropped('BLK-02', 'a status that is read-only', [header, { ...status, write: false }]),
  dropped('BLK-02', 'a status outside memory', [
    header,
    { address: MEMORY, length: 1, write: true },
  ]),
  ...[IN, OUT].flatMap((type) => {
    const data = type === IN ? into : from
    return [
      answered('BLK-03', `type ${type} at the sector past the end`, IOERR, {
        type,
        sector: SECTORS,
        data: data(512),
      }),
      answered('BLK-03', `type ${type} of one sector too many`, IOERR, {
        type,
        sector: SECTORS - 1,
        data: data(1024),
      }),
      answered('BLK-03', `type ${type} at a sector that wraps as bytes`, IOERR, {
        type,
        sector: 2n ** 55n,
        data: data(512),
      }),
      answered('BLK-03', `type ${type} at sector 2^64 - 1`, IOERR, {
        type,
        sector: 2n ** 64n - 1n,
        data: data(512),
      }),
      answered('BLK-04', `type ${type} of 511 bytes`, IOERR, { type, sector: 0, data: data(511) }),
      answered('BLK-04', `type ${type} of nothing`, IOERR, { type, sector: 0, data: [] }),
    ]
  }),
  answered(
    'BLK-05',
    'a write of a disk that is read-only',
    IOERR,
    { type: OUT, sector: 0, data: from(512) },
    { disk: 'readOnly', features: [VIRTIO_F_VERSION_1] },
  ),
  ...[2, 3, 16, 18, 24, 26, 0xffff, 0xffff_ffff].map((type) =>
    answered('BLK-06', `request type ${type}`, UNSUPP, { type, sector: 0, data: into(512) }),
  ),
  ranged('BLK-07', 'a discard of no range', IOERR, DISCARD, new Script(), 0),
  ranged('BLK-07', 'a discard of 15 bytes of range', IOERR, DISCARD, range(0, 1, 0), 15),
  ranged('BLK-07', 'a discard of 65,535 ranges', IOERR, DISCARD, range(0, 1, 0), 16 * 65_535),
  ranged('BLK-07', 'a discard of 2^32 - 1 sectors', IOERR, DISCARD, range(0, 0xffff_ffff, 0)),
  ranged('BLK-07', 'a discard with the unmap flag', UNSUPP, DISCARD, range(0, 1, 1)),
  ranged('BLK-07', 'zeroes with unknown flags', UNSUPP, ZEROES, range(0, 1, 0x8000_0000)),
  ranged('BLK-07', 'zeroes at a sector that wraps', IOERR, ZEROES, range(2n ** 64n - 1n, 1, 0)),
  ranged('BLK-07', 'zeroes of what is there', OK, ZEROES, range(1, 1, 0)),
  {
    id: 'BLK-08',
    title: 'zeroes over the whole disk, over and over',
    play: async (bench) => {
      const disk = new Disk(bench)
      const [ring] = await disk.start(RANGES)
      for (let i = 0; i < 100; i++) {
        await bench.run(range(0, SECTORS, i % 2))
        expect(await disk.request(ring!, ZEROES, 0, from(16))).toBe(OK)
      }
      await disk.expectRunning()
    },
  },
  {
    id: 'BLK-09',
    title: 'flushes with data, by the hundred',
    play: async (bench) => {
      const disk = new Disk(bench)
      const [ring] = await disk.start()
      for (let i = 0; i < 100; i++) {
        expect(await disk.request(ring!, blk.VIRTIO_BLK_T_FLUSH, i, from(512))).toBe(OK)
      }
      await disk.expectRunning()
    },
  },
  {
    id: 'BLK-10',
    title: 'the cache mode toggled between writes',
    play: async (bench) => {
      const disk = new Disk(bench)
      const [ring] = await disk.start([...RANGES, blk.VIRTIO_BLK_F_CONFIG_WCE])
      for (let i = 0; i < 50; i++) {
        await disk.write(mmio.VIRTIO_MMIO_CONFIG + blk.CONFIG_WRITEBACK, i, 1)
        expect(await disk.request(ring!, OUT, 1, from(512))).toBe(OK)
      }
      await disk.expectRunning()
    },
  },
  {
    id: 'BLK-11',
    title: 'more segments than were announced',
    play: (bench) => manySegments(bench),
  },
  {
    id: 'BLK-12',
    title: 'reads and writes of one sector in flight see the old or the new, never a mixture',
    play: async (bench) => {
      const disk = new Disk(bench)
      const [ring] = await disk.start(undefined, 1, 256)
      bench.memory.fill(DATA, 512, 0x11)
      expect(await disk.request(ring!, OUT, 7, from(512))).toBe(OK)
      for (let round = 0; round < 10; round++) await overlapping(bench, disk, ring!)
      await disk.expectRunning()
    },
  },
]

async function manySegments(bench: Bench): Promise<void> {
  const disk = new Disk(bench)
  const [ring] = await disk.start()
  const segments = [
    header,
    ...Array.from({ length: 4094 }, (_, i) => ({
      address: DATA + 512 * (i % 64),
      length: 512,
      write: true,
    })),
    status,
  ]
  const view = bench.memory.dataView(TABLE, 16 * segments.length)
  segments.forEach(({ address, length, write }, i) => {
    view.setBigUint64(16 * i, BigInt(address), true)
    view.setUint32(16 * i + 8, length, true)
    view.setUint16(16 * i + 12, (write ? 2 : 0) | (i < segments.length - 1 ? 1 : 0), true)
    view.setUint16(16 * i + 14, i + 1, true)
  })
  await bench.run(
    script(ring!.descriptor(0, TABLE, 16 * segments.length, 4), ring!.offer(0), disk.kick()),
  )
  await disk.expectNeedsReset(ring)
}

/** Forty writes of 0x11 and of 0x22 and as many reads, all of sector 7, in one kick. */
async function overlapping(bench: Bench, disk: Disk, ring: Ring): Promise<void> {
  const reads: number[] = []
  const [outHeader, inHeader] = [HEADERS, HEADERS + 16]
  bench.memory.fill(DATA + 0x1_0000, 512, 0x11)
  bench.memory.fill(DATA + 0x1_0200, 512, 0x22)
  const requests = Array.from({ length: 40 }, (_, i) => {
    const isRead = i % 2 === 1
    const at = isRead ? DATA + 0x2_0000 + 512 * i : DATA + 0x1_0000 + (i % 4 === 0 ? 0 : 0x200)
    if (isRead) reads.push(at)
    return script(
      ring.descriptor(3 * i, isRead ? inHeader : outHeader, 16, 1, 3 * i + 1),
      ring.descriptor(3 * i + 1, at, 512, isRead ? 3 : 1, 3 * i + 2),
      ring.descriptor(3 * i + 2, STATUSES + i, 1, 2),
      ring.offer(3 * i),
    )
  })
  await bench.run(
    script(disk.header(OUT, 7, outHeader), disk.header(IN, 7, inHeader), ...requests, disk.kick()),
  )
  await disk.waitUsed(ring)
  for (const at of reads) {
    const [first, ...rest] = bench.memory.read(at, 512)
    expect([0x11, 0x22]).toContain(first)
    expect(rest.every((byte) => byte === first)).toBe(true)
  }
}
