import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC } from '../../../../lib/devices/virtio/abi.js'
import { EchoRig } from '../../../helpers/echo-rig.js'
import type { Segment } from '../../../helpers/virtio-driver.js'
import { ringStep } from './ring-steps.js'

describe('a split virtqueue against a model', () => {
  it.each([
    ['plain', []],
    ['with event indices', [VIRTIO_F_EVENT_IDX]],
  ])(
    'gives every chain once, whole and in order, and takes each back once, %s',
    (_name, features) => {
      fc.assert(
        fc.property(fc.array(ringStep, { maxLength: 60 }), (steps) => {
          const rig = new EchoRig()
          const size = 8
          const [queue] = rig.driver.start([VIRTIO_F_INDIRECT_DESC, ...features], size)
          rig.device.hold = true
          const offered: { id: number; readable: number[][]; writable: number[][] }[] = []
          const finished: number[] = []
          const reaped: number[] = []
          const done = new Set<number>()

          for (const action of steps) {
            if (action.kind === 'add') {
              const [readable, writable, indirect] = action.chain
              const segments: Segment[] = [
                ...readable,
                ...writable.map((s) => ({ ...s, writable: true })),
              ]
              const needed = indirect ? 1 : segments.length
              if (segments.length === 0 || needed > queue!.freeCount) continue
              const table = 0xf1000 + 0x60 * queue!.availIdx
              const id = indirect ? queue!.addIndirect(table, segments) : queue!.add(segments)
              const filled = (list: typeof readable) =>
                list.filter((s) => s.length > 0).map((s) => [s.address, s.length])
              offered.push({ id, readable: filled(readable), writable: filled(writable) })
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
              reaped.push(...queue!.used().map(({ id }) => id))
            }
          }
          rig.driver.kick(0)
          reaped.push(...queue!.used().map(({ id }) => id))
          expect(
            rig.device.seen.map(({ id, readable, writable }) => ({ id, readable, writable })),
          ).toEqual(offered)
          expect(reaped).toEqual(finished)
          expect(rig.device.context!.queues[0]!.inFlight).toBe(offered.length - finished.length)
          expect(rig.reasons).toEqual([])
        }),
        { numRuns: 150 },
      )
    },
  )

  it('takes anything for a ring and its descriptors without throwing or leaving its budget', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 512, maxLength: 512 }),
        fc.integer({ min: 0, max: 8 }),
        (bytes, ahead) => {
          const rig = new EchoRig()
          const [queue] = rig.driver.start([VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX], 8)
          rig.memory.write(queue!.descriptorArea, bytes.subarray(0, 128))
          rig.memory.write(queue!.driverArea, bytes.subarray(128, 150))
          rig.memory.write(0x8000, bytes)
          queue!.publish(ahead)
          rig.driver.kick(0)
          expect(rig.errors).toEqual([])
          expect(rig.device.seen.length).toBeLessThanOrEqual(ahead)
        },
      ),
      { numRuns: 500 },
    )
  })
})

describe('notifications of a split virtqueue', () => {
  it('are switched off while the device looks, and on after', () => {
    const rig = new EchoRig()
    rig.driver.start([])
    let during = -1
    const { seen } = rig.device
    seen.push = (...chains) => {
      during = rig.queue.usedFlags
      return Array.prototype.push.apply(seen, chains)
    }
    rig.queue.add([{ address: 0x8000, length: 1 }])
    rig.driver.kick(0)
    expect(during).toBe(1)
    expect(rig.queue.usedFlags).toBe(0)
  })

  it('are asked for at the next chain, with event indices', () => {
    const rig = new EchoRig()
    rig.driver.start([VIRTIO_F_EVENT_IDX])
    for (let i = 1; i <= 3; i++) {
      rig.queue.add([{ address: 0x8000, length: 1 }])
      rig.driver.kick(0)
      expect(rig.queue.availEvent).toBe(i)
    }
  })

  it('are raised when the used index passes used_event, and only then', () => {
    const rig = new EchoRig()
    rig.driver.start([VIRTIO_F_EVENT_IDX])
    rig.queue.usedEvent = 2
    const pulses = [0, 1, 2, 3, 4].map(() => {
      rig.queue.add([{ address: 0x8000, length: 1 }])
      rig.driver.kick(0)
      rig.queue.used()
      return rig.irq.pulses
    })
    expect(pulses).toEqual([0, 0, 1, 1, 1])
  })
})
