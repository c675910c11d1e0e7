import { afterEach, describe, expect, it } from 'vitest'
import { CustomDisk } from '../../../../lib/backends/block/custom-disk.js'
import { MemoryDisk } from '../../../../lib/backends/block/memory-disk.js'
import { VIRTIO_F_RING_RESET } from '../../../../lib/devices/virtio/abi.js'
import * as blk from '../../../../lib/devices/virtio/block/abi.js'
import { BlockRig } from '../../../helpers/block-driver.js'
import { nativeMemory } from '../../../helpers/guest-memories.js'
import { turns, until } from '../../../helpers/virtio-driver.js'

const FEATURES = [VIRTIO_F_RING_RESET, blk.VIRTIO_BLK_F_MQ]
const STATUS = 0x70000
const DATA = 0x80000
/** More than an engine reads at once. */
const BIG = 0x40000

describe('virtio-blk with a queue that is reset', () => {
  let rig: BlockRig

  afterEach(async () => {
    await rig.close()
    expect(rig.errors).toEqual([])
    expect(rig.reasons).toEqual([])
  })

  function read(queue: number, n: number, length = 512): void {
    rig.driver.queues[queue]!.add([
      { address: rig.header(blk.VIRTIO_BLK_T_IN, n), length: 16 },
      { address: DATA + 512 * n, length, writable: true },
      { address: STATUS + n, length: 1, writable: true },
    ])
  }

  const used = (queue: number) => rig.driver.queues[queue]!.deviceUsedIdx

  it('waits for what the disk still has, and leaves the other queue alone', async () => {
    const answers: (() => void)[] = []
    const disk = new CustomDisk({
      size: 512 * 64,
      read: (offset, length) =>
        new Promise((resolve) => {
          answers.push(() => resolve(new Uint8Array(length).fill(1 + offset / 512)))
        }),
    })
    await disk.open()
    rig = new BlockRig(disk, nativeMemory([0, 0x100000]), { queues: 2 })
    rig.driver.start(FEATURES, 16)
    for (const n of [0, 1]) read(0, n)
    for (const n of [2, 3]) read(1, n)
    for (const queue of [0, 1]) rig.driver.kick(queue)
    await until(() => answers.length === 4, 'the reads')
    rig.memory.fill(STATUS, 4, 0xee)
    expect(rig.driver.resetQueue(0)).toBe(true)
    answers[0]!()
    answers[2]!()
    await until(() => used(1) === 1, 'a read of the other queue')
    await turns(5)
    expect(rig.driver.queueResetting(0)).toBe(true)
    answers[1]!()
    await until(() => !rig.driver.queueResetting(0), 'the reset')
    expect(used(0)).toBe(0)
    expect([...rig.memory.read(STATUS, 4)]).toEqual([0xee, 0xee, 0, 0xee])

    rig.driver.setUpQueue(0, 8)
    read(0, 4)
    rig.driver.kick(0)
    await until(() => answers.length === 5, 'a read of the new queue')
    answers[4]!()
    answers[3]!()
    await until(() => used(0) === 1 && used(1) === 2, 'the rest')
    expect(rig.memory.read(DATA + 4 * 512, 512)).toEqual(new Uint8Array(512).fill(5))
  })

  it.each(['io_uring', 'threads'] as const)(
    'has nothing written by %s after it, with requests in flight',
    async (engine) => {
      const disk = new MemoryDisk(new Uint8Array(BIG + 512 * 64).fill(7), { engine })
      await disk.open()
      rig = new BlockRig(disk, nativeMemory([0, 0x100000]), { queues: 2 })
      rig.driver.start(FEATURES, 64)
      for (let round = 0; round < 40; round++) {
        for (let n = 0; n < 16; n++) read(0, n, BIG)
        rig.driver.kick(0)
        if (round % 2 === 0) await turns(1)
        rig.driver.resetQueue(0)
        await until(() => !rig.driver.queueResetting(0), 'the reset')
        const { deviceArea } = rig.queue
        const ring = rig.memory.read(deviceArea, 6 + 8 * 64)
        rig.memory.fill(STATUS, 16, 0xee)
        rig.memory.fill(DATA, BIG, 0xee)
        read(1, 20)
        rig.driver.kick(1)
        await until(() => used(1) === round + 1, 'the other queue')
        rig.driver.queues[1]!.used()
        expect(rig.memory.read(STATUS, 16).every((byte) => byte === 0xee)).toBe(true)
        expect(rig.memory.read(DATA, 512 * 20).every((byte) => byte === 0xee)).toBe(true)
        expect(rig.memory.read(deviceArea, 6 + 8 * 64)).toEqual(ring)
        rig.driver.setUpQueue(0, 64)
      }
    },
  )
})
