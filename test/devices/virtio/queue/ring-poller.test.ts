import { describe, expect, it } from 'vitest'
import { RingPoller } from '../../../../lib/devices/virtio/queue/ring-poller.js'
import type { Virtqueue } from '../../../../lib/devices/virtio/queue/virtqueue.js'
import { EchoRig } from '../../../helpers/echo-rig.js'

/** A queue that counts how often it was looked at. */
function watched(rig: EchoRig): { queue: Virtqueue; looks(): number } {
  const real = rig.device.context!.queues[0]!
  let looks = 0
  const queue = Object.create(real, {
    available: {
      get() {
        looks++
        return real.available
      },
    },
  }) as Virtqueue
  return { queue, looks: () => looks }
}

describe('RingPoller', () => {
  it('sees a chain that is there, and leaves it there', () => {
    const rig = new EchoRig()
    rig.driver.start([])
    rig.device.hold = true
    const { queue } = watched(rig)
    const poller = new RingPoller(1000)
    expect(poller.wait(queue)).toBe(false)
    rig.queue.add([{ address: 0x8000, length: 16 }])
    expect(new RingPoller(1000).wait(queue)).toBe(true)
    rig.driver.kick(0)
    expect(rig.device.seen).toHaveLength(1)
  })

  it('looks ever less often while it is in vain', () => {
    const rig = new EchoRig()
    rig.driver.start([])
    const { queue, looks } = watched(rig)
    const poller = new RingPoller(1)
    const polled: number[] = []
    for (let i = 0; i < 200; i++) {
      const before = looks()
      poller.wait(queue)
      if (looks() > before) polled.push(i)
    }
    expect(polled).toEqual([0, 1, 3, 7, 15, 31, 63, 127])
  })

  it('never looks if it is switched off, nor at a queue that has stopped', () => {
    const rig = new EchoRig()
    rig.driver.start([])
    rig.queue.add([{ address: 0x8000, length: 16 }])
    const { queue, looks } = watched(rig)
    expect(new RingPoller(0).wait(queue)).toBe(false)
    expect(looks()).toBe(0)
    rig.device.context!.queues[0]!.stop()
    expect(new RingPoller(10).wait(queue)).toBe(false)
  })
})
