import { execFileSync } from 'node:child_process'
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Tap } from '../../../../lib/backends/net/tap.js'
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC } from '../../../../lib/devices/virtio/abi.js'
import * as net from '../../../../lib/devices/virtio/net/abi.js'
import { nativeMemory } from '../../../helpers/guest-memories.js'
import { arpRequest, isArpReplyFrom, NetRig } from '../../../helpers/net-driver.js'
import { noTapReason, TapInterface } from '../../../helpers/tap-interface.js'
import { testNetwork } from '../../../helpers/test-network.js'
import { turns, until } from '../../../helpers/virtio-driver.js'

const reason = noTapReason()
if (reason !== undefined) console.log(`virtio-net over a TAP is not tested: ${reason}`)

const GUEST_MAC = '52:54:00:12:34:56'

describe.skipIf(reason !== undefined)('virtio-net over a TAP', () => {
  let host: TapInterface
  let rig: NetRig
  let guestAddress: string

  async function start(features: number[]): Promise<void> {
    const tap = new Tap(host.name, { mac: GUEST_MAC })
    await tap.open()
    await until(() => host.running, 'a running interface')
    rig = new NetRig(tap, nativeMemory([0, 0x100000]))
    rig.driver.start([VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX, ...features], 64)
  }

  /** A UDP socket of the host's that the guest can be reached from, the guest being known to the host's ARP. */
  async function hostSocket(): Promise<Socket> {
    rig.send(arpRequest(GUEST_MAC, guestAddress, host.network.host))
    await rig.receive(isArpReplyFrom(host.network.host))
    const socket = createSocket('udp4')
    socket.bind(0, host.network.host)
    await once(socket, 'listening')
    return socket
  }

  beforeEach(() => {
    host = new TapInterface()
    guestAddress = host.network.guest
  })
  afterEach(async () => {
    await rig.close()
    host.remove()
    expect(rig.errors).toEqual([])
    expect(rig.reasons).toEqual([])
  })

  it('offers what the interface can do', async () => {
    await start([])
    const has = (bit: number) => ((rig.driver.deviceFeatures >> BigInt(bit)) & 1n) === 1n
    for (const bit of [
      net.VIRTIO_NET_F_MAC,
      net.VIRTIO_NET_F_STATUS,
      net.VIRTIO_NET_F_CSUM,
      net.VIRTIO_NET_F_HOST_TSO4,
    ]) {
      expect(has(bit), `feature ${bit}`).toBe(true)
    }
    expect(Buffer.from(rig.device.config.subarray(0, 6)).toString('hex')).toBe('525400123456')
  })

  it.each([
    ['plain', []],
    [
      'with offloads',
      [net.VIRTIO_NET_F_CSUM, net.VIRTIO_NET_F_GUEST_CSUM, net.VIRTIO_NET_F_MRG_RXBUF],
    ],
  ])('asks the host for its address and is answered, %s', async (_name, features) => {
    await start(features)
    rig.buffers(16)
    rig.send(arpRequest(GUEST_MAC, guestAddress, host.network.host))
    const { header, frame } = await rig.receive(isArpReplyFrom(host.network.host))
    expect([...frame.subarray(0, 6)]).toEqual([0x52, 0x54, 0, 0x12, 0x34, 0x56])
    expect(header[10]).toBe(1) // 5.1.6.4.1: num_buffers is 1 without VIRTIO_NET_F_MRG_RXBUF too
    expect(rig.device.counters.txFrames).toBe(1)
  })

  it('has the host’s own answer in the turn of the question', async () => {
    await start([])
    rig.buffers(16)
    const isReply = isArpReplyFrom(host.network.host)
    // Not each: other frames of the host's may come first.
    let answered = false
    for (let i = 0; i < 8 && !answered; i++) {
      rig.send(arpRequest(GUEST_MAC, guestAddress, host.network.host))
      answered = rig.received().some(({ bytes }) => isReply(bytes))
    }
    expect(answered).toBe(true)
  })

  it('receives a long frame whole', async () => {
    await start([net.VIRTIO_NET_F_MRG_RXBUF])
    rig.buffers(16)
    const socket = await hostSocket()
    const payload = Buffer.alloc(1400, 'x')
    socket.send(payload, 9, guestAddress)
    const { frame } = await rig.receive((bytes) => bytes.length > 1400)
    expect(Buffer.from(frame).includes(payload)).toBe(true)
    socket.close()
  })

  it('reports how many small buffers a frame took', async () => {
    await start([net.VIRTIO_NET_F_MRG_RXBUF])
    rig.buffers(16)
    const socket = await hostSocket()
    rig.transport.reset()
    rig.driver.start([VIRTIO_F_EVENT_IDX, net.VIRTIO_NET_F_MRG_RXBUF], 64)
    rig.buffers(40, 256)
    socket.send(Buffer.alloc(1000, 'y'), 9, guestAddress)
    let parts: { header: Uint8Array; bytes: Uint8Array; length: number }[] = []
    await until(() => {
      parts = parts.concat(rig.received())
      return parts.some(
        (part) => part.header[10]! > 1 && parts.length >= parts.indexOf(part) + part.header[10]!,
      )
    }, 'a frame in parts')
    const first = parts.findIndex((part) => part.header[10]! > 1)
    const count = parts[first]!.header[10]!
    expect(count).toBe(Math.ceil((12 + 14 + 28 + 1000) / 256))
    const lengths = parts.slice(first, first + count).map((part) => part.length)
    expect(lengths.reduce((a, b) => a + b)).toBe(12 + 14 + 28 + 1000)
    socket.close()
  })

  it('drops a frame too long for the buffers, whole, and takes the next', async () => {
    await start([])
    rig.buffers(16)
    const socket = await hostSocket()
    rig.transport.reset()
    rig.driver.start([VIRTIO_F_EVENT_IDX], 64)
    rig.buffers(16, 600)
    socket.send(Buffer.alloc(1200, 'z'), 9, guestAddress)
    socket.send(Buffer.alloc(100, 'w'), 9, guestAddress)
    const { frame } = await rig.receive(
      (bytes) => Buffer.from(bytes).includes('wwww') && bytes.length < 600,
    )
    expect(frame.length).toBe(14 + 28 + 100)
    socket.close()
  })

  it('lets a frame wait for enough buffers where the driver has more, and those behind it', async () => {
    await start([net.VIRTIO_NET_F_MRG_RXBUF])
    rig.buffers(16)
    const socket = await hostSocket()
    rig.transport.reset()
    rig.driver.start([VIRTIO_F_EVENT_IDX, net.VIRTIO_NET_F_MRG_RXBUF], 64)
    rig.buffers(8, 256)
    for (let i = 0; i < 6; i++) socket.send(Buffer.alloc(100, 'a'), 9, guestAddress)
    await until(() => rig.received().length === 0 && rig.rx.usedIdx >= 6, 'short frames')
    const taken = rig.rx.usedIdx
    socket.send(Buffer.alloc(1200, 'z'), 9, guestAddress)
    socket.send(Buffer.alloc(50, 'w'), 9, guestAddress)
    await turns(20)
    expect(rig.rx.deviceUsedIdx).toBe(taken)
    rig.buffers(8, 256, 0x90000)
    let all = ''
    await until(() => {
      for (const { bytes } of rig.received()) all += Buffer.from(bytes).toString('latin1')
      return all.includes('w'.repeat(50))
    }, 'both frames')
    expect(all.match(/z/g)!.length).toBeGreaterThanOrEqual(1200 - 4 * 12)
    // Single letters are in addresses and checksums as well.
    expect(all.indexOf('zzzz')).toBeLessThan(all.indexOf('wwww'))
    socket.close()
  })

  it('loses a frame for which all of the buffers of the driver are too few', async () => {
    await start([net.VIRTIO_NET_F_MRG_RXBUF])
    rig.buffers(16)
    const socket = await hostSocket()
    rig.transport.reset()
    rig.driver.start([VIRTIO_F_EVENT_IDX, net.VIRTIO_NET_F_MRG_RXBUF], 64)
    rig.buffers(4, 256)
    socket.send(Buffer.alloc(1200, 'z'), 9, guestAddress)
    socket.send(Buffer.alloc(100, 'w'), 9, guestAddress)
    const { frame } = await rig.receive((bytes) => Buffer.from(bytes).includes('wwww'))
    expect(frame.length).toBe(14 + 28 + 100)
    socket.close()
  })

  it('loses nothing while there are no buffers, and needs one kick when they come', async () => {
    await start([])
    rig.buffers(4)
    const socket = await hostSocket()
    rig.transport.reset()
    rig.driver.start([VIRTIO_F_EVENT_IDX], 64)
    for (let i = 0; i < 20; i++) socket.send(Buffer.from([0xa5, i]), 9, guestAddress)
    await turns(20)
    expect(rig.rx.deviceUsedIdx).toBe(0)
    rig.buffers(8)
    const seen: number[] = []
    while (seen.length < 20) {
      const { frame } = await rig.receive((bytes) => bytes[42] === 0xa5)
      seen.push(frame[43]!)
    }
    expect(seen).toEqual(Array.from({ length: 20 }, (_, i) => i))
    socket.close()
  })

  it('counts what it sends to an interface that is down, and goes on when it is up again', async () => {
    await start([])
    rig.buffers(16)
    host.up = false
    rig.send(arpRequest(GUEST_MAC, guestAddress, host.network.host))
    expect(rig.device.counters.txDropped).toBe(1)
    expect(rig.tx.used()).toHaveLength(1)
    host.up = true
    await until(() => rig.device.link && host.running, 'a running interface')
    rig.send(arpRequest(GUEST_MAC, guestAddress, host.network.host))
    await rig.receive(isArpReplyFrom(host.network.host))
  })

  it('takes long frames in over several turns of the event loop', async () => {
    const LENGTH = 60_000
    const COUNT = 32
    const network = testNetwork()
    const tap = new Tap('nkl%d', {
      ...{ create: true, mac: GUEST_MAC, mtu: 65_000 },
      address: `${network.host}/${network.prefix}`,
    })
    await tap.open()
    rig = new NetRig(tap, nativeMemory([0, 0x400000]))
    rig.driver.start([VIRTIO_F_EVENT_IDX], 64)
    const { guest } = network
    execFileSync('ip', ['neighbour', 'add', guest, 'lladdr', GUEST_MAC, 'dev', tap.name])
    for (let i = 0; i < COUNT; i++) rig.buffer(0x100000 + i * 0x10000, 0x10000)
    rig.driver.kick(0)
    const socket = createSocket('udp4')
    socket.bind(0)
    await once(socket, 'listening')
    const received = () => rig.device.counters.rxBytes
    let most = 0
    let before = received()
    const bytes = Buffer.alloc(LENGTH)
    // Sent while this event loop has no turn: it finds them all at once.
    for (let i = 0; i < COUNT; i++) socket.send(bytes, 9, guest)
    const sent = () => socket.getSendQueueCount() === 0
    while (!sent() || rig.rx.deviceUsedIdx < COUNT) {
      await turns(1)
      most = Math.max(most, received() - before)
      before = received()
    }
    socket.close()
    expect(most).toBeGreaterThan(LENGTH)
    expect(most).toBeLessThan(2 ** 20 + 2 * LENGTH)
  })
})

describe.skipIf(reason !== undefined)('a TAP that cannot be used', () => {
  it('does not exist', async () => {
    const error = await new Tap('nkt-absent').open().catch((e) => e)
    expect(error).toMatchObject({ code: 'ERR_NET', option: 'name', value: 'nkt-absent' })
    expect(error.message).toContain('does not exist')
  })

  it('is in use', async () => {
    const host = new TapInterface()
    const first = new Tap(host.name)
    await first.open()
    const error = await new Tap(host.name).open().catch((e) => e)
    expect(error).toMatchObject({ code: 'ERR_NET', option: 'name' })
    expect(error.message).toContain('in use')
    await first.close()
    const second = new Tap(host.name)
    await second.open()
    await second.close()
    host.remove()
  })

  it('is no TAP', async () => {
    expect(await new Tap('lo').open().catch((e) => e)).toMatchObject({
      code: 'ERR_NET',
      value: 'lo',
    })
  })

  it.each([
    ['', 'name'],
    ['a/b', 'name'],
    ['sixteen-letters1', 'name'],
    [7, 'name'],
  ])('has the name %j', (name, option) => {
    expect(() => new Tap(name as string)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION', option }),
    )
  })

  it.each(['', '52:54:00:12:34', '53:54:00:12:34:56', '00:00:00:00:00:00', 5])(
    'has the MAC address %j',
    (mac) => {
      expect(() => new Tap('tap0', { mac: mac as string })).toThrow(
        expect.objectContaining({ code: 'ERR_INVALID_OPTION', option: 'mac' }),
      )
    },
  )
})
