import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_INDIRECT_DESC,
} from '../../../../lib/devices/virtio/abi.js'
import { EchoDevice } from '../../../helpers/echo-device.js'
import { EchoRig } from '../../../helpers/echo-rig.js'
import { type RingLayout, startRing } from '../../../helpers/ring-driver.js'

function started(layout: RingLayout, size: number, features: number[]) {
  const rig = new EchoRig(new EchoDevice(), undefined, layout === 'packed', true)
  const all = [VIRTIO_F_IN_ORDER, VIRTIO_F_INDIRECT_DESC, ...features]
  return { rig, queue: startRing(rig, layout, size, all) }
}

const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('add' as const),
      readable: fc.nat(2),
      writable: fc.array(fc.integer({ min: 1, max: 70_000 }), { maxLength: 2 }),
      indirect: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('kick' as const) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('finish' as const),
      pick: fc.nat(),
      full: fc.boolean(),
      publish: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('reap' as const) }) },
)

describe.each(['split', 'packed'] as const)('a %s virtqueue used in order', (layout) => {
  it.each<[string, number[], number]>([
    ['plain', [], 8],
    ['with event indices', [VIRTIO_F_EVENT_IDX], 8],
    ['of one size less', [], layout === 'split' ? 4 : 7],
  ])('gives chains back in order, whatever order they are done in, %s', (_name, features, size) => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const { rig, queue } = started(layout, size, features)
        rig.device.hold = true
        const inFlight: { id: number; length: number | undefined; room: number }[] = []
        const visible: { id: number; length: number }[] = []
        let tables = 0
        const publish = () => {
          rig.device.context!.queues[0]!.publish()
          for (let [next] = inFlight; next?.length !== undefined; [next] = inFlight) {
            visible.push({ id: next.id, length: next.length })
            inFlight.shift()
          }
        }
        const reap = () => {
          expect(queue.used()).toEqual(visible)
          visible.length = 0
        }
        for (const action of steps) {
          if (action.kind === 'add') {
            const segments = [
              ...Array.from({ length: action.readable }, () => ({ address: 0x8000, length: 9 })),
              ...action.writable.map((length) => ({ address: 0x9000, length, writable: true })),
            ]
            const needed = action.indirect ? 1 : segments.length
            if (segments.length === 0 || needed > queue.room()) continue
            const table = action.indirect ? 0xf1000 + 0x60 * tables++ : undefined
            const room = action.writable.reduce((sum, length) => sum + length, 0)
            const id = queue.add(segments, table)
            rig.driver.kick(0)
            publish() // what was pushed is shown by whichever publish comes next
            inFlight.push({ id, length: undefined, room })
          } else if (action.kind === 'finish') {
            const waiting = inFlight.filter(({ length }) => length === undefined)
            if (waiting.length === 0) continue
            const chain = waiting[action.pick % waiting.length]!
            chain.length = action.full ? chain.room : Math.floor(chain.room / 2)
            rig.device.context!.queues[0]!.push(chain.id, chain.length)
            rig.device.context!.queues[0]!.push(chain.id, 1) // done already
            if (action.publish) publish()
          } else if (action.kind === 'reap') reap()
          else {
            rig.driver.kick(0)
            publish()
          }
        }
        publish()
        reap()
        expect(rig.device.context!.queues[0]!.inFlight).toBe(
          inFlight.filter(({ length }) => length === undefined).length,
        )
        expect(rig.reasons).toEqual([])
      }),
      { numRuns: 200 },
    )
  })

  it('gives a batch back by one entry, where the driver can tell what was written', () => {
    const { rig, queue } = started(layout, 8, [])
    for (let i = 0; i < 6; i++) queue.add([{ address: 0x8000, length: 16, writable: true }])
    rig.driver.kick(0) // the echo device fills them all
    expect(queue.used()).toHaveLength(6)
    expect(queue.entriesRead()).toBe(1)
    rig.device.hold = true
    const ids = [3, 16, 16].map(() => queue.add([{ address: 0x8000, length: 16, writable: true }]))
    rig.driver.kick(0)
    const ring = rig.device.context!.queues[0]!
    for (const [i, written] of [16, 3, 16].entries()) ring.push(ids[i]!, written)
    ring.publish()
    expect(queue.used().map(({ length }) => length)).toEqual([16, 3, 16])
    expect(queue.entriesRead()).toBe(3)
    expect(rig.irq.pulses).toBe(2)
  })

  it('takes a chain back by unpop', () => {
    const { rig, queue } = started(layout, 8, [])
    rig.device.hold = true
    const first = queue.add([{ address: 0x8000, length: 16 }])
    const second = queue.add([{ address: 0x8000, length: 16 }])
    const ring = rig.device.context!.queues[0]!
    expect(ring.pop()!.id).toBe(first)
    expect(ring.pop()!.id).toBe(second)
    ring.unpop()
    expect(ring.pop()!.id).toBe(second)
    ring.push(second, 0)
    ring.publish()
    expect(queue.used()).toEqual([])
    ring.push(first, 0)
    ring.publish()
    expect(queue.used().map(({ id }) => id)).toEqual([first, second])
    expect(ring.inFlight).toBe(0)
  })
})

describe('VIRTIO_F_IN_ORDER', () => {
  const offered = (rig: EchoRig) => (rig.driver.deviceFeatures >> BigInt(VIRTIO_F_IN_ORDER)) & 1n

  it('is offered only if it was asked for, and the device is one for it', () => {
    expect(offered(new EchoRig())).toBe(0n)
    expect(offered(new EchoRig(new EchoDevice(), undefined, false, true))).toBe(1n)
    const unordered = Object.assign(new EchoDevice(), { inOrder: false })
    expect(offered(new EchoRig(unordered, undefined, false, true))).toBe(0n)
  })

  it('a driver that offers a chain again before it was used breaks the queue', () => {
    const { rig } = started('split', 8, [])
    rig.device.hold = true
    const queue = rig.queue
    queue.add([{ address: 0x8000, length: 16 }])
    queue.add([{ address: 0x8000, length: 16 }])
    rig.driver.kick(0)
    const second = rig.device.seen[1]!.id
    rig.device.finish(0, [second]) // held back: the first is not done
    queue.offer(second)
    queue.publish()
    rig.driver.kick(0)
    expect(rig.reasons).toHaveLength(1)
    expect(rig.errors).toEqual([])
  })
})
