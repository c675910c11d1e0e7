import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  VIRTIO_CONFIG_S_NEEDS_RESET,
  VIRTIO_F_INDIRECT_DESC,
} from '../../../../lib/devices/virtio/abi.js'
import * as blk from '../../../../lib/devices/virtio/block/abi.js'
import { MappedGuestMemory } from '../../../../lib/memory/mapping.js'
import { BlockRig } from '../../../helpers/block-driver.js'
import { nativeMemory, plainMemory } from '../../../helpers/guest-memories.js'
import { turns, until } from '../../../helpers/virtio-driver.js'

const RAM = 0x100000
const SECTORS = 64
const {
  VIRTIO_BLK_T_IN: IN,
  VIRTIO_BLK_T_OUT: OUT,
  VIRTIO_BLK_S_IOERR: IOERR,
  VIRTIO_BLK_S_UNSUPP: UNSUPP,
  VIRTIO_BLK_S_OK: OK,
} = blk
const image = () => Uint8Array.from({ length: SECTORS * 512 }, (_, i) => (i >> 9) * 3 + i)

describe.each(['io_uring', 'threads', 'js'] as const)(
  'virtio-blk by %s and a hostile guest',
  (engine) => {
    let folder: string
    let path: string
    let rig: BlockRig
    const memory = () => (engine === 'js' ? plainMemory([0, RAM]) : nativeMemory([0, RAM]))

    async function open(
      options: { readOnly?: boolean } = {},
      features: number[] = [],
    ): Promise<void> {
      rig = await BlockRig.file(path, memory(), { engine, ...options })
      rig.driver.start([VIRTIO_F_INDIRECT_DESC, ...features], 128)
    }
    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), 'node-kvm-blk-'))
      path = join(folder, 'disk.img')
      writeFileSync(path, image())
    })
    afterEach(async () => {
      // Whatever it was, the device is alive, and nothing was written past the ends of memory.
      const good = await rig.request(IN, 1, [{ address: 0x80000, length: 512, writable: true }])
      expect(good).toEqual({ status: OK, length: 513 })
      if (rig.memory instanceof MappedGuestMemory) expect(rig.memory.canariesIntact()).toBe(true)
      expect(rig.errors).toEqual([])
      expect(rig.driver.status & VIRTIO_CONFIG_S_NEEDS_RESET).toBe(0)
      await rig.close()
      rmSync(folder, { recursive: true })
    })

    const data = (length = 512) => [{ address: 0x80000, length }]
    const into = (length = 512) => [{ address: 0x80000, length, writable: true }]
    const unchanged = () => expect(new Uint8Array(readFileSync(path))).toEqual(image())

    it('gets sectors in and out whichever way header and data are cut', async () => {
      await open()
      rig.memory.fill(0x80000, 512, 0x77)
      const header = rig.header(OUT, 9)
      const status = rig.driver.allocator.take(1)
      rig.memory.fill(status, 1, 0xee)
      rig.queue.addIndirect(rig.driver.allocator.take(16 * 50), [
        ...Array.from({ length: 16 }, (_, i) => ({ address: header + i, length: 1 })),
        ...Array.from({ length: 16 }, (_, i) => ({ address: 0x80000 + 32 * i, length: 32 })),
        { address: status, length: 1, writable: true },
      ])
      rig.driver.kick(0)
      await rig.wait()
      expect(rig.memory.read(status, 1)[0]).toBe(OK)
      expect(readFileSync(path).subarray(9 * 512, 10 * 512)).toEqual(Buffer.alloc(512, 0x77))
    })

    it('gets a request with header and data in one descriptor, and data and status in one', async () => {
      await open()
      rig.memory.fill(0x70010, 512, 0x66)
      rig.header(OUT, 2, 0x70000)
      rig.queue.add([
        { address: 0x70000, length: 16 + 512 },
        { address: 0x7f000, length: 1, writable: true },
      ])
      rig.driver.kick(0)
      await rig.wait()
      rig.queue.add([
        { address: rig.header(IN, 2), length: 16 },
        { address: 0x90000, length: 513, writable: true },
      ])
      rig.driver.kick(0)
      expect((await rig.wait()).length).toBe(513)
      expect(rig.memory.read(0x90000, 513)).toEqual(new Uint8Array([...Array(512).fill(0x66), 0]))
    })

    it.each<[string, { length: number; writable?: boolean; address?: number }[]]>([
      ['no header', [{ length: 1, writable: true }]],
      ['a header that is short by a byte', [{ length: 15 }, { length: 1, writable: true }]],
      [
        'a header that is writable',
        [
          { length: 16, writable: true },
          { length: 513, writable: true },
        ],
      ],
      [
        'a header outside memory',
        [
          { address: RAM - 15, length: 16 },
          { length: 1, writable: true },
        ],
      ],
      ['no status', [{ length: 16 }]],
      ['a status that is read-only', [{ length: 16 }, { length: 512 }, { length: 1 }]],
      ['a status outside memory', [{ length: 16 }, { address: RAM, length: 1, writable: true }]],
      ['nothing at all', [{ length: 0 }]],
    ])('gets a chain with %s back untouched', async (_name, segments) => {
      await open()
      rig.header(IN, 0, 0x70000)
      const before = rig.memory.read(0x70000, 0x8000)
      rig.queue.add(
        segments.map(({ address, ...rest }, i) => ({
          address: address ?? 0x70000 + 0x400 * i,
          ...rest,
        })),
      )
      rig.driver.kick(0)
      expect((await rig.wait()).length).toBe(0)
      expect(rig.memory.read(0x70000, 0x8000)).toEqual(before)
      expect(rig.device.counters.dropped).toBe(1)
      unchanged()
    })

    it.each<[string, bigint, number]>([
      ['a sector past the end', BigInt(SECTORS), 512],
      ['one sector too many', BigInt(SECTORS - 1), 1024],
      ['a sector that overflows as bytes', 0x80_0000_0000_0000n, 512],
      ['a sector of 2^64 - 1', 0xffff_ffff_ffff_ffffn, 512],
      ['a sector of 2^55 - 1', 2n ** 55n - 1n, 1024],
      ['a length of no whole sectors', 0n, 511],
      ['a length of a sector and a byte', 0n, 513],
      ['one byte', 0n, 1],
    ])('may neither read nor write %s', async (_name, sector, length) => {
      await open()
      expect((await rig.request(IN, sector, into(length))).status).toBe(IOERR)
      expect((await rig.request(OUT, sector, data(length))).status).toBe(IOERR)
      unchanged()
    })

    it('gets an error for a read into nothing, and a write of nothing', async () => {
      await open()
      expect(await rig.request(IN, 0, [])).toEqual({ status: IOERR, length: 1 })
      expect((await rig.request(OUT, 0, [])).status).toBe(IOERR)
      expect((await rig.request(IN, 0, data())).status).toBe(IOERR)
      expect((await rig.request(OUT, 0, into())).status).toBe(IOERR)
      unchanged()
    })

    it.each<[string, number | bigint, number]>([
      ['of 0xffffffff bytes', 0x80000, 0xffff_ffff],
      ['of all but 2^32 bytes', 0x80000, 0xffff_fe00],
      ['that wraps 2^64', 0xffff_ffff_ffff_ff00n, 512],
      ['one byte past the end of memory', RAM - 511, 512],
      ['in the hole', 0x80_0000, 512],
      ['at 2^53', 2n ** 53n, 512],
      ['at 2^64 - 512', 2n ** 64n - 512n, 512],
    ])('gets an error for data %s', async (_name, address, length) => {
      await open()
      const tail = rig.memory.read(RAM - 512, 512)
      expect((await rig.request(IN, 0, [{ address, length, writable: true }])).status).toBe(IOERR)
      expect((await rig.request(OUT, 0, [{ address, length }])).status).toBe(IOERR)
      expect(rig.memory.read(RAM - 512, 512)).toEqual(tail)
      unchanged()
    })

    it('writes nothing when only one segment of several is bad', async () => {
      await open()
      const mixed = [
        { address: 0x80000, length: 512 },
        { address: RAM - 1, length: 512 },
      ]
      expect((await rig.request(OUT, 0, mixed)).status).toBe(IOERR)
      unchanged()
    })

    it('cannot write a disk that is read-only, with the feature not negotiated', async () => {
      await open({ readOnly: true })
      expect((await rig.request(OUT, 0, data())).status).toBe(IOERR)
      expect((await rig.request(IN, 0, into())).status).toBe(OK)
      unchanged()
    })

    it.each([2, 3, 5, 11, 13, 14, 16, 24, 0xffff, 0xffff_ffff])(
      'gets UNSUPP for request type %i',
      async (type) => {
        await open()
        expect((await rig.request(type, 0, into())).status).toBe(UNSUPP)
      },
    )

    it('gets an error for a serial number with no room for it', async () => {
      await open()
      expect((await rig.request(blk.VIRTIO_BLK_T_GET_ID, 0, into(19))).status).toBe(IOERR)
      expect(
        (
          await rig.request(blk.VIRTIO_BLK_T_GET_ID, 0, [
            { address: RAM - 19, length: 20, writable: true },
          ])
        ).status,
      ).toBe(IOERR)
      expect((await rig.request(blk.VIRTIO_BLK_T_GET_ID, 0, into(4096))).status).toBe(OK)
    })

    it('may flush with data, and thousands of times', async () => {
      await open()
      expect((await rig.request(blk.VIRTIO_BLK_T_FLUSH, 5, data())).status).toBe(OK)
      let done = 0
      const statuses = Array.from({ length: 60 }, () => rig.driver.allocator.take(1))
      for (let round = 0; round < 20; round++) {
        for (const at of statuses) {
          rig.memory.fill(at, 1, 0xee)
          rig.queue.add([
            { address: rig.header(blk.VIRTIO_BLK_T_FLUSH, 0, 0x70000), length: 16 },
            { address: at, length: 1, writable: true },
          ])
        }
        rig.driver.kick(0)
        const end = done + statuses.length
        await until(() => {
          done += rig.queue.used().length
          return done === end
        }, 'the flushes')
        expect(statuses.every((at) => rig.memory.read(at, 1)[0] === OK)).toBe(true)
      }
      expect(rig.device.counters.flushes).toBe(1201)
    })

    it('with more segments than announced gets an error, or its data', async () => {
      await open()
      const table = rig.driver.allocator.take(16 * 300)
      const status = rig.driver.allocator.take(1)
      rig.queue.addIndirect(table, [
        { address: rig.header(IN, 0), length: 16 },
        ...Array.from({ length: 254 }, (_, i) => ({
          address: 0x80000 + 512 * (i % 64),
          length: 512,
          writable: true,
        })),
        { address: status, length: 1, writable: true },
      ])
      rig.driver.kick(0)
      await rig.wait()
      expect(rig.memory.read(status, 1)[0]).toBe(IOERR) // 254 sectors of a disk of 64
    })

    /** A range as discard and write-zeroes take it: sector, sectors, flags. */
    function range(
      sector: bigint,
      sectors: number,
      flags = 0,
    ): { address: number; length: number }[] {
      const view = rig.memory.dataView(0x80000, 16)
      view.setBigUint64(0, sector, true)
      view.setUint32(8, sectors, true)
      view.setUint32(12, flags, true)
      return [{ address: 0x80000, length: 16 }]
    }
    const RANGES = [blk.VIRTIO_BLK_F_DISCARD, blk.VIRTIO_BLK_F_WRITE_ZEROES]
    const { VIRTIO_BLK_T_DISCARD: DISCARD, VIRTIO_BLK_T_WRITE_ZEROES: ZEROES } = blk

    it.each([0, 1])('gets ranges zeroed, with flags %i', async (flags) => {
      await open({}, RANGES)
      expect((await rig.request(ZEROES, 0, range(3n, 5, flags))).status).toBe(OK)
      expect(new Uint8Array(readFileSync(path))).toEqual(image().fill(0, 3 * 512, 8 * 512))
    })

    it('gets ranges discarded', async () => {
      await open({}, RANGES)
      expect((await rig.request(DISCARD, 0, range(8n, 16))).status).toBe(OK)
      const now = new Uint8Array(readFileSync(path))
      expect(now.slice(0, 8 * 512)).toEqual(image().slice(0, 8 * 512))
      expect(now.slice(24 * 512)).toEqual(image().slice(24 * 512))
    })

    it.each<[string, number, bigint, number, number, number]>([
      ['discards no sectors', DISCARD, 0n, 0, 0, IOERR],
      ['discards 2^32 - 1 sectors', DISCARD, 0n, 0xffff_ffff, 0, IOERR],
      ['discards past the end', DISCARD, BigInt(SECTORS - 1), 2, 0, IOERR],
      ['discards at a sector that overflows', DISCARD, 2n ** 64n - 1n, 1, 0, IOERR],
      ['discards with the unmap flag', DISCARD, 0n, 1, 1, UNSUPP],
      ['discards with unknown flags', DISCARD, 0n, 1, 0x8000_0000, UNSUPP],
      ['zeroes no sectors', ZEROES, 0n, 0, 0, IOERR],
      ['zeroes past the end', ZEROES, BigInt(SECTORS), 1, 1, IOERR],
      ['zeroes with unknown flags', ZEROES, 0n, 1, 2, UNSUPP],
    ])('that %s gets an error', async (_name, type, sector, sectors, flags, status) => {
      await open({}, RANGES)
      expect((await rig.request(type, 0, range(sector, sectors, flags))).status).toBe(status)
      unchanged()
    })

    it.each([0, 1, 15, 17, 32, 0x10000])(
      'that names ranges in %i bytes gets an error',
      async (length) => {
        await open({}, RANGES)
        const segments = length === 0 ? [] : [{ address: 0x80000, length }]
        expect((await rig.request(DISCARD, 0, segments)).status).toBe(IOERR)
        unchanged()
      },
    )

    it('may not discard without the feature, nor on a read-only disk', async () => {
      await open()
      expect((await rig.request(DISCARD, 0, range(0n, 1))).status).toBe(UNSUPP)
      await rig.close()
      await open({ readOnly: true }, RANGES)
      expect((await rig.request(DISCARD, 0, range(0n, 1))).status).toBe(UNSUPP)
      expect((await rig.request(ZEROES, 0, range(0n, 1))).status).toBe(UNSUPP)
      unchanged()
    })

    it('may change the cache mode under load', async () => {
      await open({}, [blk.VIRTIO_BLK_F_CONFIG_WCE])
      for (let i = 0; i < 40; i++) {
        rig.transport.write(0x100 + blk.CONFIG_WRITEBACK, 1, i % 2)
        expect(rig.transport.read(0x100 + blk.CONFIG_WRITEBACK, 1)).toBe(i % 2)
        expect((await rig.request(OUT, 1, data())).status).toBe(OK)
      }
      rig.transport.write(0x100 + blk.CONFIG_WRITEBACK, 1, 7)
      expect(rig.transport.read(0x100 + blk.CONFIG_WRITEBACK, 1)).toBe(1)
      writeFileSync(path, image())
    })

    it('may not write other fields of the configuration space', async () => {
      await open({}, [blk.VIRTIO_BLK_F_CONFIG_WCE])
      const before = rig.device.config.slice()
      for (let offset = 0; offset < 256; offset++) {
        if (offset !== blk.CONFIG_WRITEBACK) rig.transport.write(0x100 + offset, 1, 0xff)
        rig.transport.write(0x100 + offset, 2, 0)
        rig.transport.write(0x100 + offset, 4, 0)
      }
      expect(rig.device.config).toEqual(before)
    })

    it('that resets with requests in flight sees no byte and no used entry change after', async () => {
      await open()
      for (let round = 0; round < 20; round++) {
        for (let i = 0; i < 32; i++) {
          rig.queue.add([
            { address: rig.header(IN, i, 0x60000 + 16 * i), length: 16 },
            { address: 0x80000 + 512 * i, length: 512, writable: true },
            { address: 0x70000 + i, length: 1, writable: true },
          ])
        }
        rig.driver.kick(0)
        rig.driver.status = 0
        await until(() => rig.driver.status === 0, 'the reset')
        rig.memory.fill(0x70000, 0x20000, 0xa5)
        const { deviceArea } = rig.queue
        const ring = rig.memory.read(deviceArea, 6 + 8 * 128)
        const { pulses } = rig.irq
        await turns(5)
        await new Promise((resolve) => setTimeout(resolve, 2))
        expect(rig.memory.read(0x70000, 0x20000).every((byte) => byte === 0xa5)).toBe(true)
        expect(rig.memory.read(deviceArea, 6 + 8 * 128)).toEqual(ring)
        expect(rig.irq.pulses).toBe(pulses)
        rig.driver.start([VIRTIO_F_INDIRECT_DESC], 128)
      }
    })

    it('gets errors while its image is cut short, and its data again when it has grown', async () => {
      await open()
      truncateSync(path, 512 * 8)
      expect((await rig.request(IN, 20, into())).status).toBe(IOERR)
      expect((await rig.request(IN, 7, into(1024))).status).toBe(IOERR)
      expect((await rig.request(IN, 7, into(512))).status).toBe(OK)
      const fd = openSync(path, 'r+')
      ftruncateSync(fd, SECTORS * 512)
      closeSync(fd)
      expect((await rig.request(IN, 20, into())).status).toBe(OK)
    })
  },
)
