import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  VIRTIO_CONFIG_S_NEEDS_RESET,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_RING_RESET,
} from '../../../../lib/devices/virtio/abi.js'
import * as mmio from '../../../../lib/devices/virtio/transport/virtio-mmio.js'
import { EchoDevice } from '../../../helpers/echo-device.js'
import { EchoRig, RAM } from '../../../helpers/echo-rig.js'
import { PackedDriverQueue } from '../../../helpers/packed-driver.js'
import { type DriverQueue, turns } from '../../../helpers/virtio-driver.js'

const BUFFER = [{ address: 0x8000, length: 16, writable: true }]

function started(queueSizes = [16, 16], features = [VIRTIO_F_RING_RESET]): EchoRig {
  const rig = new EchoRig(new EchoDevice({ queueSizes }))
  rig.driver.start(features, 16)
  return rig
}

/** One chain there and back. */
function echo(rig: EchoRig, queue: DriverQueue): void {
  const id = queue.add(BUFFER)
  rig.driver.kick(queue.index)
  expect(queue.used()).toEqual([{ id, length: 16 }])
}

const ready = (rig: EchoRig, index: number) => {
  rig.driver.write(mmio.VIRTIO_MMIO_QUEUE_SEL, index)
  return rig.driver.read(mmio.VIRTIO_MMIO_QUEUE_READY)
}

describe('the reset of one queue', () => {
  it('forgets the queue, and leaves the others alone', async () => {
    const rig = started()
    rig.device.hold = true
    const [first, second] = rig.driver.queues as [DriverQueue, DriverQueue]
    first.add(BUFFER)
    second.add(BUFFER)
    for (const queue of [0, 1]) rig.driver.kick(queue)
    const ring = rig.memory.read(first.deviceArea, 6 + 8 * 16)
    expect(rig.driver.resetQueue(0)).toBe(false)
    expect(ready(rig, 0)).toBe(0)
    expect(ready(rig, 1)).toBe(1)
    expect(rig.device.context!.queues[0]).toBeUndefined()
    rig.device.finish(1, [0])
    first.add(BUFFER)
    rig.driver.kick(0)
    await turns(3)
    expect(rig.device.seen).toHaveLength(2)
    expect(rig.memory.read(first.deviceArea, 6 + 8 * 16)).toEqual(ring)
    expect(second.used()).toHaveLength(1)
    expect(rig.device.queueResets).toEqual([0])
  })

  it('is followed by a setup of another size and place, which starts at its beginning', () => {
    const rig = started()
    for (let i = 0; i < 5; i++) echo(rig, rig.queue)
    rig.driver.resetQueue(0)
    rig.driver.write(mmio.VIRTIO_MMIO_QUEUE_SEL, 0)
    expect(rig.driver.read(mmio.VIRTIO_MMIO_QUEUE_NUM_MAX)).toBe(16)
    const smaller = rig.driver.setUpQueue(0, 4)
    expect(ready(rig, 0)).toBe(1)
    expect(rig.device.queueActivations).toEqual([0])
    for (let i = 0; i < 5; i++) echo(rig, smaller)
    expect(smaller.deviceUsedIdx).toBe(5)
    expect(rig.device.context!.queues[0]!.size).toBe(4)
    echo(rig, rig.driver.queues[1]!)
  })

  it('looks at chains that were there before the queue was ready', async () => {
    const rig = started()
    rig.driver.resetQueue(0)
    rig.driver.write(mmio.VIRTIO_MMIO_QUEUE_SEL, 0)
    const queue = rig.driver.setUpQueue(0, 8)
    queue.add(BUFFER)
    await turns(2)
    expect(queue.used()).toHaveLength(1)
  })

  it('lasts until the device has nothing of the queue in flight', async () => {
    const rig = started()
    let drained!: () => void
    rig.device.draining = new Promise((resolve) => {
      drained = resolve
    })
    expect(rig.driver.resetQueue(0)).toBe(true)
    expect(rig.driver.queueResetting(1)).toBe(false)
    rig.driver.resetQueue(0) // again, which changes nothing
    rig.driver.setUpQueue(0, 8) // too early
    await turns(2)
    expect(ready(rig, 0)).toBe(0)
    expect(rig.device.queueResets).toEqual([0])
    echo(rig, rig.driver.queues[1]!)
    drained()
    await turns(2)
    expect(rig.driver.queueResetting(0)).toBe(false)
    echo(rig, rig.driver.setUpQueue(0, 8))
  })

  it('ends with the reset of the whole device', async () => {
    const rig = started()
    let drained!: () => void
    rig.device.draining = new Promise((resolve) => {
      drained = resolve
    })
    rig.driver.resetQueue(0)
    rig.driver.status = 0
    expect(rig.driver.queueResetting(0)).toBe(false)
    drained()
    await turns(3)
    expect(rig.driver.status).toBe(0)
    rig.device.draining = undefined
    rig.driver.start([VIRTIO_F_RING_RESET], 8)
    echo(rig, rig.queue)
    rig.driver.resetQueue(0)
    echo(rig, rig.driver.setUpQueue(0, 8))
  })

  it('that fails in the device model stops the device', async () => {
    const rig = started()
    rig.device.draining = Promise.reject(new Error('a fault in the device'))
    rig.driver.resetQueue(0)
    await turns(2)
    expect(rig.errors).toHaveLength(1)
    expect(rig.driver.status & VIRTIO_CONFIG_S_NEEDS_RESET).toBe(VIRTIO_CONFIG_S_NEEDS_RESET)
  })

  it.each([
    ['without the feature', [], 0, 1],
    ['of a queue that does not exist', [VIRTIO_F_RING_RESET], 2, 1],
    ['of queue 2^32 - 1', [VIRTIO_F_RING_RESET], 0xffff_ffff, 1],
    ['by another value than 1', [VIRTIO_F_RING_RESET], 0, 2],
    ['by 0', [VIRTIO_F_RING_RESET], 0, 0],
  ])('is ignored %s', (_name, features, queue, value) => {
    const rig = started([16, 16], features)
    rig.driver.write(mmio.VIRTIO_MMIO_QUEUE_SEL, queue)
    rig.driver.write(mmio.VIRTIO_MMIO_QUEUE_RESET, value)
    expect(rig.transport.counters.ignoredWrites).toBe(1)
    expect(rig.device.queueResets).toEqual([])
    for (const index of [0, 1]) echo(rig, rig.driver.queues[index]!)
  })

  it('is ignored before DRIVER_OK, and for a queue that was never set up', () => {
    const rig = new EchoRig(new EchoDevice({ queueSizes: [16, 16] }))
    rig.driver.negotiate([VIRTIO_F_RING_RESET])
    const queue = rig.driver.setUpQueue(0, 16)
    rig.driver.resetQueue(0)
    rig.driver.driverOk()
    rig.driver.resetQueue(1)
    rig.driver.setUpQueue(1, 16) // frozen by DRIVER_OK
    expect(ready(rig, 1)).toBe(0)
    expect(rig.device.queueResets).toEqual([])
    echo(rig, queue)
  })

  it('does not open the queues that were not reset', () => {
    const rig = started()
    rig.driver.resetQueue(0)
    rig.driver.placeQueue(1, 8, 0x1000, 0x2000, 0x3000)
    echo(rig, rig.driver.queues[1]!)
  })

  it.each<[string, number, number | 'other', number]>([
    ['a ring outside memory', 16, RAM - 16, 0x3000],
    ['a size of no power of two', 5, 0x1000, 0x3000],
    ['a size above the greatest', 32, 0x1000, 0x3000],
    ["another queue's ring", 16, 'other', 0x3000],
  ])('followed by a setup with %s needs a reset', async (_name, size, descriptors, used) => {
    const rig = started()
    const other = rig.driver.queues[1]!
    rig.driver.resetQueue(0)
    const table = descriptors === 'other' ? other.deviceArea & ~15 : descriptors
    rig.driver.placeQueue(0, size, table, 0x2000, used)
    expect(rig.reasons).toHaveLength(1)
    expect(rig.device.queueActivations).toEqual([])
    other.add(BUFFER)
    rig.driver.kick(1)
    rig.driver.resetQueue(1)
    rig.driver.setUpQueue(1, 8).add(BUFFER)
    rig.driver.kick(1)
    await turns(2)
    expect(rig.device.seen).toEqual([])
    rig.driver.start([VIRTIO_F_RING_RESET], 16)
    echo(rig, rig.queue)
    expect(rig.errors).toEqual([])
  })

  it('works with packed rings', () => {
    const rig = new EchoRig(new EchoDevice(), undefined, true)
    rig.driver.negotiate([VIRTIO_F_RING_PACKED, VIRTIO_F_RING_RESET])
    for (const size of [8, 5, 16]) {
      const queue = new PackedDriverQueue(rig.memory, rig.driver.allocator, size)
      rig.driver.placeQueue(0, size, queue.descriptorArea, queue.driverArea, queue.deviceArea)
      if (size === 8) rig.driver.driverOk()
      for (let i = 0; i < 3 * size + 1; i++) {
        const id = queue.add(BUFFER)
        rig.driver.kick(0)
        expect(queue.used()).toEqual([{ id, length: 16 }])
      }
      rig.driver.resetQueue(0)
    }
    expect(rig.reasons).toEqual([])
  })

  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('add' as const), queue: fc.nat(1) }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('kick' as const), queue: fc.nat(1) }) },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('finish' as const),
        queue: fc.nat(1),
        pick: fc.nat(),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant('reset' as const),
        queue: fc.nat(1),
        size: fc.constantFrom(1, 2, 4, 16),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('setup' as const), queue: fc.nat(1) }) },
  )

  it('agrees with a model under any sequence of chains and resets', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const features = [VIRTIO_F_RING_RESET, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX]
        const rig = started([16, 16], features)
        rig.device.hold = true
        const queues: (DriverQueue | undefined)[] = [...rig.driver.queues]
        const sizes = [16, 16]
        const held: number[][] = [[], []]
        const expected: number[][] = [[], []]
        let offered = 0
        for (const action of steps) {
          const { queue: index } = action
          const queue = queues[index]
          if (action.kind === 'reset') {
            rig.driver.resetQueue(index)
            queues[index] = undefined
            sizes[index] = action.size
            held[index] = []
            expected[index] = []
          } else if (action.kind === 'setup' && queue === undefined) {
            queues[index] = rig.driver.setUpQueue(index, sizes[index]!)
          } else if (action.kind === 'add' && queue && queue.freeCount > 0) {
            const id = queue.add(BUFFER)
            rig.driver.kick(index)
            held[index]!.push(id)
            offered++
          } else if (action.kind === 'finish' && held[index]!.length > 0) {
            const [id] = held[index]!.splice(action.pick % held[index]!.length, 1)
            rig.device.finish(index, [id!])
            expected[index]!.push(id!)
          } else if (action.kind === 'kick') {
            rig.driver.kick(index)
            const used = queue?.used().map(({ id }) => id) ?? []
            expect(used).toEqual(expected[index])
            expected[index] = []
          }
        }
        expect(rig.device.seen).toHaveLength(offered)
        expect(rig.reasons).toEqual([])
        expect(rig.errors).toEqual([])
      }),
      { numRuns: 200 },
    )
  })
})
