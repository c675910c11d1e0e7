import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC } from '../../../../lib/devices/virtio/abi.js'
import * as blk from '../../../../lib/devices/virtio/block/abi.js'
import { BlockRig } from '../../../helpers/block-driver.js'
import { nativeMemory, plainMemory } from '../../../helpers/guest-memories.js'

const SECTORS = 64
const image = () => Uint8Array.from({ length: SECTORS * 512 }, (_, i) => (i >> 9) + i)

describe.each(['io_uring', 'threads', 'js'] as const)('virtio-blk over a file by %s', (engine) => {
  let folder: string
  let path: string
  let rig: BlockRig
  const memory = () => (engine === 'js' ? plainMemory([0, 0x100000]) : nativeMemory([0, 0x100000]))

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'node-kvm-blk-'))
    path = join(folder, 'disk.img')
    writeFileSync(path, image())
    rig = await BlockRig.file(path, memory(), { engine, id: 'serial-1' })
    rig.driver.start([VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX])
  })
  afterEach(async () => {
    await rig.close()
    expect(rig.errors).toEqual([])
    rmSync(folder, { recursive: true })
  })

  it('says what does the work', () => {
    expect(rig.device.engine).toBe(engine)
  })

  it('reads sectors', async () => {
    const result = await rig.request(blk.VIRTIO_BLK_T_IN, 3, [
      { address: 0x80000, length: 1024, writable: true },
    ])
    expect(result).toEqual({ status: blk.VIRTIO_BLK_S_OK, length: 1025 })
    expect(rig.memory.read(0x80000, 1024)).toEqual(image().slice(3 * 512, 5 * 512))
    expect(rig.irq.pulses).toBe(1)
  })

  it('writes sectors from several segments', async () => {
    rig.memory.fill(0x80000, 300, 1)
    rig.memory.fill(0x90001, 212, 2)
    const data = [
      { address: 0x80000, length: 300 },
      { address: 0x90001, length: 212 },
    ]
    expect(await rig.request(blk.VIRTIO_BLK_T_OUT, 10, data)).toEqual({
      status: blk.VIRTIO_BLK_S_OK,
      length: 1,
    })
    const expected = image()
    expected.fill(1, 5120, 5420)
    expected.fill(2, 5420, 5632)
    expect(new Uint8Array(readFileSync(path))).toEqual(expected)
  })

  it('flushes', async () => {
    expect(await rig.request(blk.VIRTIO_BLK_T_FLUSH, 0, [])).toEqual({
      status: blk.VIRTIO_BLK_S_OK,
      length: 1,
    })
  })

  it('tells its serial number', async () => {
    const result = await rig.request(blk.VIRTIO_BLK_T_GET_ID, 0, [
      { address: 0x80000, length: 20, writable: true },
    ])
    expect(result).toEqual({ status: blk.VIRTIO_BLK_S_OK, length: 21 })
    expect(Buffer.from(rig.memory.read(0x80000, 20)).toString()).toBe('serial-1'.padEnd(20, '\0'))
  })

  it('refuses the sector after the last', async () => {
    const data = [{ address: 0x80000, length: 1024, writable: true }]
    expect((await rig.request(blk.VIRTIO_BLK_T_IN, SECTORS - 2, data)).status).toBe(
      blk.VIRTIO_BLK_S_OK,
    )
    expect((await rig.request(blk.VIRTIO_BLK_T_IN, SECTORS - 1, data)).status).toBe(
      blk.VIRTIO_BLK_S_IOERR,
    )
  })

  it('answers data outside guest memory with an error, and goes on', async () => {
    const bad = [{ address: 0x100000 - 511, length: 512, writable: true }]
    expect((await rig.request(blk.VIRTIO_BLK_T_IN, 0, bad)).status).toBe(blk.VIRTIO_BLK_S_IOERR)
    const good = [{ address: 0x80000, length: 512, writable: true }]
    expect((await rig.request(blk.VIRTIO_BLK_T_IN, 0, good)).status).toBe(blk.VIRTIO_BLK_S_OK)
  })

  it('serves a whole queue of indirect requests in one batch', async () => {
    const statuses: number[] = []
    for (let i = 0; i < 16; i++) {
      const status = rig.driver.allocator.take(1)
      statuses.push(status)
      rig.memory.fill(status, 1, 0xee)
      rig.queue.addIndirect(rig.driver.allocator.take(48), [
        { address: rig.header(blk.VIRTIO_BLK_T_IN, i), length: 16 },
        { address: 0x80000 + 512 * i, length: 512, writable: true },
        { address: status, length: 1, writable: true },
      ])
    }
    rig.driver.kick(0)
    const seen = new Set<number>()
    while (seen.size < 16) {
      seen.add((await rig.wait()).id)
      for (const { id } of rig.queue.used()) seen.add(id)
      if (rig.queue.deviceUsedIdx === 16) break
    }
    expect(rig.queue.deviceUsedIdx).toBe(16)
    expect(statuses.map((at) => rig.memory.read(at, 1)[0])).toEqual(
      Array(16).fill(blk.VIRTIO_BLK_S_OK),
    )
    expect(rig.memory.read(0x80000, 16 * 512)).toEqual(image().slice(0, 16 * 512))
  })
})
