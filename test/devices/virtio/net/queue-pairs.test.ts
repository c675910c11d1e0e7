import { describe, expect, it } from 'vitest'
import { NO_OFFLOADS } from '../../../../lib/backends/net/net-backend.js'
import { QueuePairs } from '../../../../lib/devices/virtio/net/queue-pairs.js'
import { RateLimiter } from '../../../../lib/devices/virtio/rate-limiter.js'
import type { DeviceContext } from '../../../../lib/devices/virtio/virtio-device.js'
import { EchoDevice } from '../../../helpers/echo-device.js'
import { EchoRig } from '../../../helpers/echo-rig.js'
import { plainMemory } from '../../../helpers/guest-memories.js'
import { RecordingNet } from '../../../helpers/recording-net.js'

const memory = plainMemory([0, 0x100000])

/** Queue pairs over a backend that notes what it is told. */
function pairsOf(backend = new RecordingNet(), link = { up: true }) {
  const counters = {
    ...{ txFrames: 0, txDropped: 0, rxBuffers: 0, rxBytes: 0, rxDropped: 0 },
    ...{ controlCommands: 0, controlErrors: 0 },
  }
  const pairs = new QueuePairs({
    backend,
    count: backend.queuePairs,
    queueSize: 16,
    served: false,
    owner: {
      counters,
      transmitLimiter: new RateLimiter('transmitLimit'),
      receiveLimiter: new RateLimiter('receiveLimit'),
      linked: () => link.up,
      linkChanged: (up) => {
        link.up = up
      },
    },
  })
  return { pairs, backend, heard: () => backend.channels.map(({ heard }) => heard.splice(0)) }
}

/** What a device has of a driver that has set up the first so many of four queues. */
function contextOf(queues: number): DeviceContext {
  const rig = new EchoRig(new EchoDevice({ queueSizes: [16, 16, 16, 16] }))
  rig.driver.negotiate([])
  for (let index = 0; index < queues; index++) rig.driver.setUpQueue(index, 16)
  rig.driver.driverOk()
  return rig.device.context!
}

/** Pairs of which the driver has set up that many queues. */
function activePairs(queues: number) {
  const all = pairsOf()
  all.pairs.attach(memory)
  const context = contextOf(queues)
  for (const index of context.queues.keys()) all.pairs.activate(index, context)
  all.heard()
  return all
}

describe('queue pairs', () => {
  it('can be told of before there are any', async () => {
    const { pairs } = pairsOf()
    pairs.setLink(false)
    pairs.setPaused(true)
    pairs.filter(undefined)
    pairs.reset()
    pairs.resetQueue(2)
    expect(pairs.notify(0)).toBe(false)
    await pairs.close()
    expect([pairs.inUse, pairs.count]).toEqual([1, 2])
  })

  it('attach a channel each, and tell all of a link that is down, be it since then', () => {
    const backend = new RecordingNet(3)
    const { pairs, heard } = pairsOf(backend)
    backend.attaching = ({ pair, linkChanged }) => {
      if (pair === 1) linkChanged(false)
    }
    pairs.attach(memory)
    expect(backend.channels.map(({ attachment }) => attachment.pair)).toEqual([0, 1, 2])
    expect(heard()).toEqual([['link false'], ['link false'], ['link false']])
  })

  it.each([
    [4, 2, true],
    [4, 1, true],
    [4, 0, false],
    [4, 3, false],
    [3, 2, false],
    [2, 1, true],
  ])('with %i queues set up, %i used: %s', (queues, used, done) => {
    const { pairs } = activePairs(queues)
    expect(pairs.use(used)).toBe(done)
    expect(pairs.inUse).toBe(done ? used : 1)
  })

  it('have the backend steer frames to those in use, the first one always', () => {
    const { pairs, heard } = activePairs(4)
    pairs.use(2)
    pairs.use(1)
    expect(heard()).toEqual([[], ['enable true', 'enable false']])
  })

  it('stay as many in use if the backend refuses', () => {
    const { pairs, backend } = activePairs(4)
    backend.channels[1]!.able = false
    expect([pairs.use(2), pairs.inUse]).toEqual([false, 1])
  })

  it('are told what was agreed on, and what the driver wants, until the reset', () => {
    const { pairs, backend } = activePairs(4)
    const direction = NO_OFFLOADS
    const agreed = { transmit: direction, receive: direction, mergeable: true, mtu: 1500 }
    pairs.agree(agreed)
    pairs.filter({ broadcast: true, unicast: 'all', multicast: 'all', vlans: 'all' })
    pairs.use(2)
    for (const channel of backend.channels) {
      expect(channel.agreed).toEqual(agreed)
      expect(channel.wanted?.broadcast).toBe(true)
    }
    pairs.reset()
    expect(backend.channels.map(({ wanted }) => wanted)).toEqual([undefined, undefined])
    expect(pairs.inUse).toBe(1)
    expect(pairs.use(1)).toBe(false) // none is set up any more
  })

  it('close each channel', async () => {
    const { pairs, heard } = activePairs(4)
    await pairs.close()
    expect(heard()).toEqual([['close'], ['close']])
  })
})
