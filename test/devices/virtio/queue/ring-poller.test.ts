import { describe, expect, it } from 'vitest'
import type { DescriptorChain } from '../../../../lib/devices/virtio/queue/descriptor-chain.js'
import { RingPoller } from '../../../../lib/devices/virtio/queue/ring-poller.js'
import { drainQueue, type Virtqueue } from '../../../../lib/devices/virtio/queue/virtqueue.js'
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

/** A clock that moves by `step` milliseconds each time that it is read, and by hand. */
class Clock {
  time = 0
  step = 0.01
  readonly now = () => {
    this.time += this.step
    return this.time
  }
}

function started(): EchoRig {
  const rig = new EchoRig()
  rig.driver.start([])
  rig.device.hold = true
  return rig
}

describe('RingPoller', () => {
  it('sees a chain that is there, and leaves it there', () => {
    const rig = started()
    const { queue } = watched(rig)
    const poller = new RingPoller(1000)
    poller.begin()
    expect(poller.look(queue, 0)).toBe('nothing')
    rig.queue.add([{ address: 0x8000, length: 16 }])
    poller.begin()
    expect(poller.look(queue, 0)).toBe('chain')
    rig.driver.kick(0)
    expect(rig.device.seen).toHaveLength(1)
  })

  it('looks ever less often while it is in vain', () => {
    const { queue, looks } = watched(started())
    const poller = new RingPoller(1)
    const polled: number[] = []
    for (let i = 0; i < 200; i++) {
      const before = looks()
      poller.begin()
      poller.look(queue, 0)
      if (looks() > before) polled.push(i)
    }
    expect(polled).toEqual([0, 1, 3, 7, 15, 31, 63, 127])
  })

  it('never looks if it is switched off, nor at a queue that has stopped', () => {
    const rig = started()
    rig.queue.add([{ address: 0x8000, length: 16 }])
    const { queue, looks } = watched(rig)
    const off = new RingPoller(0)
    off.begin()
    expect(off.look(queue, 0)).toBe('nothing')
    rig.device.context!.queues[0]!.stop()
    const poller = new RingPoller(10)
    poller.begin()
    expect(poller.look(queue, 0)).toBe('nothing')
    expect(looks()).toBe(0)
  })

  it.each([
    { each: 0, looked: 0.02 },
    { each: 0.001, looked: 0.02 },
    { each: 0.05, looked: 0.4 },
    { each: 0.2, looked: 1 },
  ])('looks for $looked ms where a chain takes $each ms to serve', ({ each, looked }) => {
    const { queue } = watched(started())
    const clock = new Clock()
    const poller = new RingPoller(20, clock.now)
    poller.begin()
    clock.time += 4 * each - clock.step
    const before = clock.time + clock.step
    expect(poller.look(queue, 4)).toBe('nothing')
    expect(clock.time - before).toBeGreaterThan(looked - clock.step / 2)
    expect(clock.time - before).toBeLessThan(looked + 1.5 * clock.step)
  })

  it('goes on in the next turn if looking has paid in this one', () => {
    const rig = started()
    const queue = rig.device.context!.queues[0]!
    const clock = new Clock()
    const poller = new RingPoller(20, clock.now)
    poller.begin()
    clock.time += 3
    expect(poller.look(queue, 1)).toBe('nothing')
    rig.queue.add([{ address: 0x8000, length: 16 }])
    poller.begin()
    expect(poller.look(queue, 1)).toBe('chain')
    clock.time += 3
    expect(poller.look(queue, 2)).toBe('turn over')
    poller.begin()
    expect(poller.look(queue, 0)).toBe('chain')
    queue.pop()
    expect(poller.look(queue, 1)).toBe('nothing')
    clock.time += 3
    expect(poller.look(queue, 1)).toBe('nothing')
  })
})

describe('drainQueue with a poller', () => {
  it('serves what comes while it looks, and ends its turn', () => {
    const rig = started()
    const queue = rig.device.context!.queues[0]!
    const clock = new Clock()
    let served = 0
    const service = {
      handle: (chain: DescriptorChain) => {
        served++
        queue.push(chain.id, 0)
      },
      submit: () => {
        clock.time += 0.25
        rig.queue.used()
        if (served < 20) rig.queue.add([{ address: 0x8000, length: 16 }])
      },
      poller: new RingPoller(20, clock.now),
    }
    rig.queue.add([{ address: 0x8000, length: 16 }])
    expect(drainQueue(queue, service)).toBe(true)
    expect(served).toBe(4)
    for (let turns = 0; drainQueue(queue, service); turns++) expect(turns).toBeLessThan(10)
    expect(served).toBe(20)
  })
})
