import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  VIRTIO_CONFIG_S_NEEDS_RESET,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
} from '../../../../lib/devices/virtio/abi.js'
import { EchoDevice } from '../../../helpers/echo-device.js'
import { EchoRig, RAM } from '../../../helpers/echo-rig.js'
import { PackedDriverQueue } from '../../../helpers/packed-driver.js'
import { ringStep } from './ring-steps.js'

const AVAIL = 1 << 7

function started(
  features: number[] = [VIRTIO_F_INDIRECT_DESC],
  size = 8,
): { rig: EchoRig; queue: PackedDriverQueue } {
  const rig = new EchoRig(new EchoDevice(), undefined, true)
  rig.driver.negotiate([VIRTIO_F_RING_PACKED, ...features])
  const queue = new PackedDriverQueue(rig.memory, rig.driver.allocator, size)
  rig.driver.placeQueue(0, size, queue.descriptorArea, queue.driverArea, queue.deviceArea)
  rig.driver.driverOk()
  expect(rig.reasons).toEqual([])
  return { rig, queue }
}

describe('a packed virtqueue', () => {
  it.each([
    ['plain', [], 8],
    ['of no power of two', [], 7],
    ['with event indices', [VIRTIO_F_EVENT_IDX], 8],
  ])(
    'gives every chain once, whole and in order, and takes each back once, %s',
    (_name, features, size) => {
      fc.assert(
        fc.property(fc.array(ringStep, { maxLength: 120 }), (steps) => {
          const { rig, queue } = started([VIRTIO_F_INDIRECT_DESC, ...features], size)
          rig.device.hold = true
          const offered: unknown[] = []
          const done = new Set<number>()
          const finished: number[] = []
          const reaped: number[] = []
          let tables = 0
          for (const action of steps) {
            if (action.kind === 'add') {
              const [readable, writable, indirect] = action.chain
              const segments = [...readable, ...writable.map((s) => ({ ...s, writable: true }))]
              if (segments.length === 0 || (indirect ? 1 : segments.length) > queue.free) continue
              const id = queue.add(segments, indirect ? 0xf1000 + 0x60 * tables++ : undefined)
              const filled = (list: typeof readable) =>
                list.filter((s) => s.length > 0).map((s) => [s.address, s.length])
              offered.push({ id, queue: 0, readable: filled(readable), writable: filled(writable) })
            } else if (action.kind === 'kick') {
              rig.driver.kick(0)
            } else if (action.kind === 'finish') {
              const candidates = rig.device.seen.map((_, i) => i).filter((i) => !done.has(i))
              if (candidates.length === 0) continue
              const index = candidates[action.pick % candidates.length]!
              done.add(index)
              finished.push(rig.device.seen[index]!.id)
              rig.device.finish(0, [rig.device.seen[index]!.id])
            } else {
              reaped.push(...queue.used().map(({ id }) => id))
            }
          }
          rig.driver.kick(0)
          reaped.push(...queue.used().map(({ id }) => id))
          expect(rig.device.seen).toEqual(offered)
          expect(reaped).toEqual(finished)
          expect(rig.reasons).toEqual([])
        }),
        { numRuns: 150 },
      )
    },
  )

  it('goes round many thousand times', () => {
    const { rig, queue } = started([VIRTIO_F_EVENT_IDX], 7)
    for (let i = 0; i < 50_000; i++) {
      const id = queue.add([
        { address: 0x8000, length: 16 },
        { address: 0x9000, length: 1 + (i & 0xff), writable: true },
      ])
      rig.driver.kick(0)
      const used = queue.used()
      if (used.length !== 1 || used[0]!.id !== id || used[0]!.length !== 1 + (i & 0xff)) {
        expect({ i, used }).toBe('one')
      }
      rig.device.seen.length = 0
    }
  })

  it('takes anything for a ring without throwing or leaving its budget', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 128, maxLength: 128 }), (bytes) => {
        const { rig, queue } = started([VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX])
        rig.memory.write(queue.descriptorArea, bytes)
        rig.device.hold = true
        rig.driver.kick(0)
        expect(rig.errors).toEqual([])
        expect(rig.device.seen.length).toBeLessThanOrEqual(8)
      }),
      { numRuns: 500 },
    )
  })

  it('raises an interrupt once a batch, and as the driver asks', () => {
    const { rig, queue } = started([VIRTIO_F_EVENT_IDX])
    const one = () => {
      queue.add([{ address: 0x8000, length: 16 }])
      rig.driver.kick(0)
      queue.used()
      return rig.irq.pulses
    }
    expect(one()).toBe(1)
    queue.setDriverEvent(0, 1)
    expect(one()).toBe(1)
    queue.setDriverEvent(3 | 0x8000, 2) // at entry 3 of the first round
    expect([one(), one(), one()]).toEqual([1, 2, 2])
    for (let i = 0; i < 3; i++) queue.add([{ address: 0x8000, length: 16 }])
    queue.setDriverEvent(0, 0)
    rig.driver.kick(0)
    expect(rig.irq.pulses).toBe(3)
  })

  it('tells whether the driver asks for what was shown, whatever has been pushed since', () => {
    for (let start = 0; start < 8; start++) {
      const { rig, queue } = started([VIRTIO_F_EVENT_IDX])
      rig.device.hold = true
      const turn = () => {
        queue.add([{ address: 0x8000, length: 16 }])
        rig.driver.kick(0)
        return rig.device.seen.at(-1)!.id
      }
      queue.setDriverEvent(0, 1)
      const device = rig.device.context!.queues[0]!
      for (let i = 0; i < start; i++) {
        device.push(turn(), 0)
        device.publish()
        queue.used()
      }
      const place = (entry: number) => (entry % 8) | (entry < 8 ? 0x8000 : 0)
      queue.setDriverEvent(place(start + 1), 2) // the second from here
      const [first, second] = [turn(), turn()]
      device.push(first, 0)
      device.show()
      device.push(second, 0)
      expect(device.wantsInterrupt(), `from ${start} on`).toBe(false)
      device.show()
      expect(device.wantsInterrupt(), `from ${start} on`).toBe(true)
      expect(rig.irq.pulses).toBe(0)
      expect([device.notify(), device.notify()]).toEqual([true, false])
      expect(rig.irq.pulses).toBe(1)
    }
  })

  it('asks for a kick at the next entry, with event indices', () => {
    const { rig, queue } = started([VIRTIO_F_EVENT_IDX])
    for (let i = 1; i <= 10; i++) {
      queue.add([{ address: 0x8000, length: 16 }])
      rig.driver.kick(0)
      queue.used()
      expect(queue.deviceEvent).toEqual([(i % 8) | (i < 8 ? 0x8000 : 0), 2])
    }
  })

  const NEXT = VIRTQ_DESC_F_NEXT
  const INDIRECT = VIRTQ_DESC_F_INDIRECT
  it.each<[string, (queue: PackedDriverQueue) => void]>([
    ['a buffer ID beyond the queue', (q) => q.setEntry(0, 0x8000, 16, 8, AVAIL)],
    [
      'a chain without an end',
      (q) => Array.from({ length: 8 }, (_, i) => q.setEntry(i, 0x8000, 16, 0, AVAIL | NEXT)),
    ],
    ['one buffer ID twice', (q) => [0, 1].map((i) => q.setEntry(i, 0x8000, 16, 3, AVAIL))],
    ['an indirect table with NEXT', (q) => q.setEntry(0, 0x8000, 16, 0, AVAIL | INDIRECT | NEXT)],
    ['an indirect table of 0 bytes', (q) => q.setEntry(0, 0x8000, 0, 0, AVAIL | INDIRECT)],
    ['an indirect table of 17 bytes', (q) => q.setEntry(0, 0x8000, 17, 0, AVAIL | INDIRECT)],
    ['an indirect table outside memory', (q) => q.setEntry(0, RAM, 16, 0, AVAIL | INDIRECT)],
    ['an indirect table of 4 GiB', (q) => q.setEntry(0, 0, 0xffff_fff0, 0, AVAIL | INDIRECT)],
    [
      'a readable descriptor after a writable one',
      (q) => {
        q.setEntry(0, 0x8000, 16, 0, AVAIL | NEXT | VIRTQ_DESC_F_WRITE)
        q.setEntry(1, 0x8000, 16, 0, AVAIL)
      },
    ],
    [
      'more than 2^32 bytes',
      (q) =>
        Array.from({ length: 5 }, (_, i) =>
          q.setEntry(i, 0, 0x4000_0000, 0, AVAIL | (i < 4 ? NEXT : 0)),
        ),
    ],
  ])('with %s needs a reset, and works after it', (_name, write) => {
    const { rig, queue } = started()
    rig.device.hold = true
    write(queue)
    rig.driver.kick(0)
    expect(rig.reasons).toHaveLength(1)
    expect(rig.driver.status & VIRTIO_CONFIG_S_NEEDS_RESET).toBe(VIRTIO_CONFIG_S_NEEDS_RESET)
    rig.device.hold = false
    rig.driver.start([])
    rig.queue.add([{ address: 0x8000, length: 16 }])
    rig.driver.kick(0)
    expect(rig.queue.used()).toHaveLength(1)
    expect(rig.errors).toEqual([])
  })

  it.each<[string, number, number, number]>([
    ['a ring not aligned to 16', 0x1008, 0x2000, 0x3000],
    ['an event structure not aligned to 4', 0x1000, 0x2002, 0x3000],
    ['a ring past the end of memory', RAM - 16, 0x2000, 0x3000],
    ['an event structure inside the ring', 0x1000, 0x2000, 0x1010],
  ])('with %s needs a reset', (_name, ring, driver, device) => {
    const rig = new EchoRig(new EchoDevice(), undefined, true)
    rig.driver.negotiate([VIRTIO_F_RING_PACKED])
    rig.driver.placeQueue(0, 8, ring, driver, device)
    rig.driver.driverOk()
    expect(rig.reasons).toHaveLength(1)
  })

  it('is offered only if it was asked for', () => {
    expect((new EchoRig().driver.deviceFeatures >> BigInt(VIRTIO_F_RING_PACKED)) & 1n).toBe(0n)
  })
})
