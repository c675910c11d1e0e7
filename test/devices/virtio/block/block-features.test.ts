import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FileDisk } from '../../../../lib/backends/block/file-disk.js'
import { MemoryDisk } from '../../../../lib/backends/block/memory-disk.js'
import { VIRTIO_F_INDIRECT_DESC } from '../../../../lib/devices/virtio/abi.js'
import * as blk from '../../../../lib/devices/virtio/block/abi.js'
import {
  type BlockLimitChange,
  VirtioBlock,
} from '../../../../lib/devices/virtio/block/virtio-block.js'
import * as mmio from '../../../../lib/devices/virtio/transport/virtio-mmio.js'
import { BlockRig } from '../../../helpers/block-driver.js'
import { nativeMemory } from '../../../helpers/guest-memories.js'
import { turns, until } from '../../../helpers/virtio-driver.js'

describe('virtio-blk', () => {
  let folder: string
  let rig: BlockRig | undefined
  const path = () => join(folder, 'disk.img')

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'node-kvm-blk-'))
    writeFileSync(path(), Buffer.alloc(512 * 128, 'd'))
  })
  afterEach(async () => {
    await rig?.close()
    rig = undefined
    rmSync(folder, { recursive: true })
  })

  const capacity = (of: BlockRig) =>
    of.driver.read(mmio.VIRTIO_MMIO_CONFIG) + of.driver.read(mmio.VIRTIO_MMIO_CONFIG + 4) * 2 ** 32

  it('describes its disk', async () => {
    rig = await BlockRig.file(path(), nativeMemory([0, 0x100000]), {}, { queues: 4, queueSize: 64 })
    const config = new DataView(rig.device.config.buffer)
    expect(capacity(rig)).toBe(128)
    expect(config.getUint32(blk.CONFIG_SEG_MAX, true)).toBe(62)
    expect(config.getUint32(blk.CONFIG_BLK_SIZE, true)).toBe(512)
    expect(512 << config.getUint8(blk.CONFIG_PHYSICAL_BLOCK_EXP)).toBe(
      (rig.backend as FileDisk).geometry.physicalBlockSize,
    )
    expect(config.getUint16(blk.CONFIG_NUM_QUEUES, true)).toBe(4)
    expect(config.getUint8(blk.CONFIG_WRITEBACK)).toBe(1)
    const has = (bit: number) => ((rig!.driver.deviceFeatures >> BigInt(bit)) & 1n) === 1n
    expect(has(blk.VIRTIO_BLK_F_MQ)).toBe(true)
    expect(has(blk.VIRTIO_BLK_F_RO)).toBe(false)
  })

  it('serves every queue by itself, with the same chain numbers in flight in each', async () => {
    rig = await BlockRig.file(
      path(),
      nativeMemory([0, 0x100000]),
      { engine: 'threads' },
      { queues: 4, queueSize: 16 },
    )
    const { driver, memory } = rig
    driver.start([blk.VIRTIO_BLK_F_MQ])
    driver.queues.forEach((queue, q) => {
      for (let i = 0; i < 4; i++) {
        queue.add([
          { address: rig!.header(blk.VIRTIO_BLK_T_IN, 4 * q + i), length: 16 },
          { address: 0x80000 + 512 * (4 * q + i), length: 512, writable: true },
          { address: 0x70000 + 4 * q + i, length: 1, writable: true },
        ])
      }
    })
    memory.fill(0x70000, 16, 0xee)
    for (let q = 0; q < 4; q++) driver.kick(q)
    await until(() => driver.queues.every((queue) => queue.deviceUsedIdx === 4), 'all requests')
    expect(memory.read(0x70000, 16)).toEqual(new Uint8Array(16))
    expect(memory.read(0x80000, 16 * 512).every((byte) => byte === 0x64)).toBe(true)
    driver.queues.forEach((queue) => {
      expect(new Set(queue.used().map(({ id }) => id)).size).toBe(4)
    })
  })

  it('takes as many segments as it announces, of the size it announces, and no more', async () => {
    const disk = new MemoryDisk(4 << 20)
    await disk.open()
    rig = new BlockRig(disk, nativeMemory([0, 0x600000]), { queueSize: 64 })
    rig.driver.start([VIRTIO_F_INDIRECT_DESC], 64)
    const config = new DataView(rig.device.config.buffer)
    const segMax = config.getUint32(blk.CONFIG_SEG_MAX, true)
    const sizeMax = config.getUint32(blk.CONFIG_SIZE_MAX, true)
    const status = rig.driver.allocator.take(1)
    /** The status of a write whose first segment follows the header in the same descriptor. */
    const write = async (lengths: readonly number[]) => {
      const header = rig!.header(blk.VIRTIO_BLK_T_OUT, 0, 0x100000)
      const [first = 0, ...others] = lengths
      rig!.queue.addIndirect(0x20000, [
        { address: header, length: 16 + first },
        ...others.map((length) => ({ address: 0x110000, length })),
        { address: status, length: 1, writable: true },
      ])
      rig!.driver.kick(0)
      await rig!.wait()
      return rig!.memory.read(status, 1)[0]
    }
    expect(segMax).toBe(62)
    expect(await write(Array(segMax).fill(512))).toBe(blk.VIRTIO_BLK_S_OK)
    expect(await write(Array(segMax + 1).fill(512))).toBe(blk.VIRTIO_BLK_S_IOERR)
    expect(await write([512, sizeMax])).toBe(blk.VIRTIO_BLK_S_OK)
    expect(await write([512, sizeMax + 512])).toBe(blk.VIRTIO_BLK_S_IOERR)
    expect(await write([sizeMax + 512])).toBe(blk.VIRTIO_BLK_S_IOERR)
    expect(await write([512, sizeMax, sizeMax])).toBe(blk.VIRTIO_BLK_S_OK)
    expect(rig.reasons).toEqual([])
  })

  it('tells the guest of a new size', async () => {
    rig = await BlockRig.file(path(), nativeMemory([0, 0x100000]))
    rig.driver.start()
    const disk = rig.backend as FileDisk
    const last = { address: 0x80000, length: 512, writable: true }
    expect((await rig.request(blk.VIRTIO_BLK_T_IN, 255, [last])).status).toBe(
      blk.VIRTIO_BLK_S_IOERR,
    )
    const generation = rig.driver.read(mmio.VIRTIO_MMIO_CONFIG_GENERATION)
    rig.driver.write(mmio.VIRTIO_MMIO_INTERRUPT_ACK, 3)
    await disk.resize(512 * 256)
    expect(rig.driver.read(mmio.VIRTIO_MMIO_INTERRUPT_STATUS)).toBe(mmio.VIRTIO_MMIO_INT_CONFIG)
    expect(rig.driver.read(mmio.VIRTIO_MMIO_CONFIG_GENERATION)).not.toBe(generation)
    expect(capacity(rig)).toBe(256)
    expect((await rig.request(blk.VIRTIO_BLK_T_IN, 255, [last])).status).toBe(blk.VIRTIO_BLK_S_OK)
    await disk.resize(512 * 10)
    expect((await rig.request(blk.VIRTIO_BLK_T_IN, 10, [last])).status).toBe(blk.VIRTIO_BLK_S_IOERR)
    for (const wrong of [0, 511, -512, 1.5, Number.NaN]) {
      await expect(disk.resize(wrong)).rejects.toMatchObject({
        code: 'ERR_INVALID_OPTION',
        option: 'capacity',
      })
    }
  })

  it('keeps to its rate limit, and serves every request in the end', async () => {
    rig = await BlockRig.file(
      path(),
      nativeMemory([0, 0x100000]),
      {},
      { rateLimit: { operations: { perSecond: 200, burst: 5 } } },
    )
    rig.driver.start([], 64)
    const start = performance.now()
    for (let i = 0; i < 20; i++) {
      rig.queue.add([
        { address: rig.header(blk.VIRTIO_BLK_T_IN, i), length: 16 },
        { address: 0x80000, length: 512, writable: true },
        { address: 0x70000 + i, length: 1, writable: true },
      ])
    }
    rig.driver.kick(0)
    await until(() => rig!.queue.deviceUsedIdx === 20, 'all requests')
    expect(performance.now() - start).toBeGreaterThan((1000 * (20 - 5 - 1)) / 200) // the bound, not the machine's speed
  })

  it('takes another rate limit while requests wait for the old one', async () => {
    const rateLimit = { operations: { perSecond: 1e-6, burst: 0.5 } }
    rig = await BlockRig.file(path(), nativeMemory([0, 0x100000]), {}, { rateLimit, queues: 2 })
    rig.driver.start([blk.VIRTIO_BLK_F_MQ], 64)
    const flush = (queue: number) =>
      rig!.driver.queues[queue]!.add([
        { address: rig!.header(blk.VIRTIO_BLK_T_FLUSH, 0), length: 16 },
        { address: 0x70000, length: 1, writable: true },
      ])
    for (const queue of [0, 0, 1]) flush(queue)
    for (const queue of [0, 1]) rig.driver.kick(queue)
    await until(() => rig!.queue.deviceUsedIdx === 1, 'the first request')
    await turns(20)
    const used = () => rig!.driver.queues.map((queue) => queue.deviceUsedIdx)
    expect(used()).toEqual([1, 0])
    const change = (limits: unknown) => rig!.device.setLimits(limits as BlockLimitChange)
    expect(() => change({ rateLimit: { bytes: 5 } })).toThrow(/rateLimit.bytes/)
    expect(() => change({ receiveLimit: null })).toThrow(/limits.receiveLimit/)
    expect(() => change(null)).toThrow(/limits/)
    change({})
    await turns(20)
    expect(used()).toEqual([1, 0])
    change({ rateLimit: null })
    await until(() => used().join() === '2,1', 'the other requests')
  })

  it.each([
    [{ queueSize: 3 }, 'queueSize'],
    [{ queueSize: 2048 }, 'queueSize'],
    [{ queueSize: 48 }, 'queueSize'],
    [{ queues: 0 }, 'queues'],
    [{ queues: 17 }, 'queues'],
    [{ queues: 1.5 }, 'queues'],
  ])('refuses %j', (options, option) => {
    expect(() => new VirtioBlock(new FileDisk(path()), options)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION', option }),
    )
  })
})
