import { describe, expect, it } from 'vitest'
import {
  type NetAttachment,
  type NetBackend,
  type NetChannel,
  NO_OFFLOADS,
  type RingServer,
  type ServedRing,
} from '../../../../lib/backends/net/net-backend.js'
import * as virtio from '../../../../lib/devices/virtio/abi.js'
import * as net from '../../../../lib/devices/virtio/net/abi.js'
import { VirtioNet } from '../../../../lib/devices/virtio/net/virtio-net.js'
import * as pci from '../../../../lib/devices/virtio/transport/virtio-pci-abi.js'
import { plainMemory } from '../../../helpers/guest-memories.js'
import { NetRig } from '../../../helpers/net-driver.js'
import { SLOT, VirtioPciRig, WINDOW } from '../../../helpers/virtio-pci-driver.js'

const bit = (index: number) => 1n << BigInt(index)
const RING_FEATURES = bit(virtio.VIRTIO_F_EVENT_IDX) | bit(virtio.VIRTIO_F_VERSION_1)

/** Stands in for the host's kernel, which few machines that run tests let serve rings. */
class Server implements RingServer {
  readonly running = new Map<number, { ring: ServedRing; next: number }>()
  readonly kicks = [0, 0]
  redirects = 0
  features = 0n
  failure: Error | undefined

  agree(features: bigint): void {
    this.features = features
  }
  start(index: 0 | 1, ring: ServedRing, next: number): void {
    if (this.failure) throw this.failure
    this.running.set(index, { ring, next })
  }
  stop(index: 0 | 1): number {
    const { next } = this.running.get(index)!
    this.running.delete(index)
    return next + 7
  }
  redirect(): void {
    this.redirects++
  }
  kick(index: 0 | 1): void {
    this.kicks[index]!++
  }
}

class ServedNet implements NetBackend {
  readonly name = 'served'
  readonly mac = '52:54:00:12:34:77'
  readonly offloads = NO_OFFLOADS
  readonly servers: Server[] = []
  readonly traffic = { txFrames: 1, txDropped: 2, rxFrames: 3, rxBytes: 4, rxDropped: 5 }
  attachment: NetAttachment | undefined
  constructor(
    readonly required = true,
    readonly queuePairs = 1,
    readonly ringServer = { features: RING_FEATURES, required },
  ) {}
  async open(): Promise<void> {}
  async close(): Promise<void> {}
  attach(attachment: NetAttachment): NetChannel {
    this.attachment = attachment
    const rings = new Server()
    this.servers.push(rings)
    const nothing = () => {}
    return {
      ...{ rings, posted: 0, overruns: 0 },
      ...{ agree: nothing, frame: nothing, buffer: nothing, segment: nothing },
      ...{ transmit: nothing, post: nothing, hold: nothing, reset: nothing },
      enable: () => true,
      close: async () => {},
    }
  }
}

const LIMIT = { bytes: { perSecond: 1e6 } }
const ALL = [
  virtio.VIRTIO_F_INDIRECT_DESC,
  virtio.VIRTIO_F_EVENT_IDX,
  virtio.VIRTIO_F_RING_RESET,
  net.VIRTIO_NET_F_MRG_RXBUF,
  net.VIRTIO_NET_F_CTRL_VQ,
  net.VIRTIO_NET_F_MQ,
]

function rigOf(backend = new ServedNet()): { rig: NetRig; server: Server; backend: ServedNet } {
  const rig = new NetRig(backend, plainMemory([0, 0x100000]))
  return { rig, server: backend.servers[0]!, backend }
}

describe('a network card whose rings something else serves', () => {
  it('offers of rings what the server knows, and tells it what was accepted', () => {
    const { rig, server } = rigOf()
    const has = (feature: number) => (rig.driver.deviceFeatures & bit(feature)) !== 0n
    expect(has(virtio.VIRTIO_F_EVENT_IDX)).toBe(true)
    expect(has(virtio.VIRTIO_F_VERSION_1)).toBe(true)
    expect(has(net.VIRTIO_NET_F_CTRL_VQ)).toBe(true)
    expect(has(virtio.VIRTIO_F_INDIRECT_DESC)).toBe(false)
    expect(has(net.VIRTIO_NET_F_MRG_RXBUF)).toBe(false)
    rig.driver.start(ALL)
    expect(server.features & RING_FEATURES).toBe(RING_FEATURES)
    expect(rig.device.vhost).toBe(true)
  })

  it('gives the rings away from DRIVER_OK to the reset', () => {
    const { rig, server } = rigOf()
    rig.driver.negotiate(ALL)
    const [receive, transmit] = [rig.driver.setUpQueue(0, 16), rig.driver.setUpQueue(1, 8)]
    expect(server.running.size).toBe(0)
    rig.driver.driverOk()
    expect(server.running.get(0)).toMatchObject({ next: 0, ring: { size: 16 } })
    for (const [index, queue] of [receive, transmit].entries()) {
      const { descriptorArea, driverArea, deviceArea } = queue
      const ring = { descriptorArea, driverArea, deviceArea }
      expect(server.running.get(index)!.ring).toMatchObject(ring)
    }
    rig.driver.status = 0
    expect(server.running.size).toBe(0)
    rig.driver.start(ALL)
    expect([...server.running.values()].map(({ next }) => next)).toEqual([0, 0])
  })

  it('goes on where it was after a pause, and after the link was down', () => {
    const { rig, server, backend } = rigOf()
    rig.driver.start(ALL)
    const next = () => [...server.running.values()].map((each) => each.next)
    rig.transport.pause()
    rig.transport.pause()
    expect(next()).toEqual([])
    rig.driver.kick(1)
    rig.transport.resume()
    expect(next()).toEqual([7, 7])
    rig.device.setLink(false)
    rig.transport.pause()
    rig.transport.resume()
    expect(next()).toEqual([])
    rig.device.setLink(true)
    expect(next()).toEqual([14, 14])
    backend.attachment!.linkChanged(false)
    expect(next()).toEqual([])
    backend.attachment!.linkChanged(true)
    expect(next()).toEqual([21, 21])
  })

  it('takes one ring back for its reset, and gives it away anew', () => {
    const { rig, server } = rigOf()
    rig.driver.start(ALL)
    rig.driver.resetQueue(0)
    expect([...server.running.keys()]).toEqual([1])
    rig.driver.setUpQueue(0, 4)
    expect(server.running.get(0)).toMatchObject({ next: 0, ring: { size: 4 } })
  })

  it('passes kicks on where there is no eventfd for them, and interrupts', () => {
    const { rig, server } = rigOf()
    rig.driver.start(ALL)
    rig.driver.kick(1)
    rig.driver.kick(0)
    rig.driver.kick(1)
    expect(server.kicks).toEqual([1, 2])
    const { ring } = server.running.get(0)!
    expect([ring.kick, ring.call]).toEqual([undefined, undefined])
    ring.called()
    expect(rig.irq.pulses).toBe(1)
    expect(rig.transport.read(0x60, 4)).toBe(1)
    rig.driver.status = 0
    ring.called()
    expect(rig.irq.pulses).toBe(1)
  })

  it('gives the kicks away, and takes them back', () => {
    const { rig, server } = rigOf()
    const taken = [false, false, false]
    const event = (fd: number) => ({ fd, signal: () => {} })
    rig.transport.connectKicks(
      taken.map((_, i) => ({
        take: () => {
          taken[i] = true
          return event(100 + i)
        },
        giveBack: () => {
          taken[i] = false
        },
      })),
    )
    rig.driver.start(ALL)
    expect(taken).toEqual([true, true, false])
    expect(server.running.get(1)!.ring.kick!.fd).toBe(101)
    rig.driver.status = 0
    expect(taken).toEqual([false, false, false])
  })

  it('needs a reset when the server cannot go on, and none of its rings is served till then', () => {
    const { rig, server } = rigOf()
    rig.driver.start(ALL)
    server.running.get(1)!.ring.broken('why')
    expect(server.running.size).toBe(0)
    expect(rig.reasons).toEqual(['queue 1: why'])
    expect(rig.driver.status & virtio.VIRTIO_CONFIG_S_NEEDS_RESET).not.toBe(0)
    rig.transport.pause()
    rig.transport.resume()
    rig.device.setLink(false)
    rig.device.setLink(true)
    expect(server.running.size).toBe(0)
    rig.driver.start(ALL)
    expect(server.running.size).toBe(2)
  })

  it('fails with what starting threw', () => {
    const { rig, server } = rigOf()
    server.failure = new Error('EFAULT')
    rig.driver.start(ALL)
    expect(rig.errors).toContain(server.failure)
    expect(server.running.size).toBe(0)
  })

  it('serves the pairs that the driver uses', () => {
    const { rig, backend } = rigOf(new ServedNet(true, 3))
    rig.driver.start(ALL)
    const served = () => backend.servers.map(({ running }) => running.size)
    expect(served()).toEqual([2, 0, 0])
    rig.memory.write(0x7e000, Uint8Array.of(4, 0, 2, 0))
    rig.driver.queues[6]!.add([
      { address: 0x7e000, length: 4 },
      { address: 0x7f000, length: 1, writable: true },
    ])
    rig.driver.kick(6)
    expect(served()).toEqual([2, 2, 0])
    rig.driver.status = 0
    expect(served()).toEqual([0, 0, 0])
  })

  it('counts what the interface counts', () => {
    const { txFrames, txDropped, rxBuffers, rxBytes, rxDropped } = rigOf().rig.device.counters
    expect([txFrames, txDropped, rxBuffers, rxBytes, rxDropped]).toEqual([1, 2, 3, 4, 5])
  })

  it('takes no limits if it must be served, and is not served if it need not', () => {
    const refusal = { code: 'ERR_INVALID_OPTION', option: 'receiveLimit' }
    const served = new ServedNet(true)
    expect(() => new VirtioNet(served, { receiveLimit: LIMIT })).toThrow(
      expect.objectContaining(refusal),
    )
    const { device } = rigOf().rig
    expect(() => device.setLimits({ receiveLimit: LIMIT })).toThrow(
      expect.objectContaining(refusal),
    )
    device.setLimits({ receiveLimit: null })
    expect(new VirtioNet(new ServedNet(false), { receiveLimit: LIMIT }).vhost).toBe(false)
    expect(new VirtioNet(new ServedNet(false)).vhost).toBe(true)
  })

  it('has messages sent without this process while nothing masks them', () => {
    const backend = new ServedNet()
    const rig = new VirtioPciRig(new VirtioNet(backend))
    const server = backend.servers[0]!
    const line = { fd: 9, signal: () => {} }
    for (const message of rig.pci.messages) Object.assign(message, { event: line })
    rig.enableMsix()
    rig.start()
    const { ring } = server.running.get(0)!
    expect(ring.call).toBe(line)
    const before = server.redirects
    const table = WINDOW + (rig.pci.read(SLOT, rig.findMsix() + 4) & ~7)
    rig.pci.mmio.write(table + 12, 4, 1)
    expect(ring.call).toBeUndefined()
    expect(server.redirects).toBeGreaterThan(before)
    ring.called()
    expect(rig.sent[0]).toBe(0)
    rig.pci.mmio.write(table + 12, 4, 0)
    expect(rig.sent[0]).toBe(1)
    expect(ring.call).toBe(line)
    rig.write(pci.VIRTIO_PCI_COMMON_Q_SELECT, 2, 0)
    rig.write(pci.VIRTIO_PCI_COMMON_Q_MSIX, 2, 0xffff)
    expect(ring.call).toBeUndefined()
  })
})
