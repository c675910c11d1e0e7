import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import * as blk from '../../../lib/devices/virtio/block/abi.js'
import { createGuestMemory } from '../../../lib/memory/mapping.js'
import { BlockRig } from '../../helpers/block-driver.js'
import { FuseDisk } from '../../helpers/fuse-disk.js'

const ENGINES = ['io_uring', 'threads', 'js'] as const
const { VIRTIO_BLK_S_OK: OK } = blk
const DATA = 0x80000
const LENGTH = 8192

const probe = await FuseDisk.mount()
if (typeof probe === 'string')
  console.log(`disks whose I/O is interrupted or short are not tested: ${probe}`)
else await probe[Symbol.asyncDispose]()

describe.skipIf(typeof probe === 'string')('a disk on a file system', () => {
  let files: FuseDisk
  beforeAll(async () => {
    files = (await FuseDisk.mount()) as FuseDisk
  })
  afterAll(async () => {
    await files[Symbol.asyncDispose]()
  })

  const cases = [
    ...ENGINES.map((engine) => ({ engine, kind: 'interrupted' as const })),
    // Not io_uring: see FileDisk.
    ...(['auto', 'threads', 'js'] as const).map((engine) => ({ engine, kind: 'short' as const })),
  ]

  it.each(cases)('whose I/O is $kind loses nothing, by $engine', async ({ engine, kind }) => {
    const sector = 64
    const memory = createGuestMemory([{ guestAddress: 0, size: 0x100000 }])
    const rig = await BlockRig.file(files[kind], memory, { engine })
    if (engine === 'auto') expect(rig.device.engine).toBe('threads')
    rig.driver.start([blk.VIRTIO_BLK_F_FLUSH], 64)
    const bytes = Uint8Array.from({ length: LENGTH }, (_, i) => (i * 7 + sector) & 0xff)
    const segments = (at: number, writable: boolean) =>
      [0, 512, 1536].map((start, i, starts) => ({
        ...{ address: at + start, writable },
        length: (starts[i + 1] ?? LENGTH) - start,
      }))
    // More than once: the kernel is told of an interruption the first time that it asks.
    for (let round = 0; round < 3; round++) {
      rig.memory.write(DATA, bytes)
      const { status } = await rig.request(blk.VIRTIO_BLK_T_OUT, sector, segments(DATA, false))
      expect(status).toBe(OK)
      expect((await rig.request(blk.VIRTIO_BLK_T_FLUSH, 0, [])).status).toBe(OK)
      rig.memory.fill(DATA, LENGTH, 0xee)
      const read = await rig.request(blk.VIRTIO_BLK_T_IN, sector, segments(DATA, true))
      expect(read.status).toBe(OK)
      expect(rig.memory.read(DATA, LENGTH)).toEqual(bytes)
    }
    expect(rig.errors).toEqual([])
    await rig.close()
  })

  it('whose writes are short loses nothing, by io_uring', async () => {
    const memory = createGuestMemory([{ guestAddress: 0, size: 0x100000 }])
    const rig = await BlockRig.file(files.short, memory, { engine: 'io_uring' })
    rig.driver.start([], 64)
    const bytes = Uint8Array.from({ length: LENGTH }, (_, i) => (i * 13) & 0xff)
    rig.memory.write(DATA, bytes)
    const from = [{ address: DATA, length: LENGTH }]
    expect((await rig.request(blk.VIRTIO_BLK_T_OUT, 256, from)).status).toBe(OK)
    await rig.close()
    const start = 256 * 512
    const written = readFileSync(files.short).subarray(start, start + LENGTH)
    expect(new Uint8Array(written)).toEqual(bytes)
  })
})
