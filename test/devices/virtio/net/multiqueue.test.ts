import { createSocket, type Socket } from 'node:dgram'
import { existsSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { Tap } from '../../../../lib/backends/net/tap.js'
import { VIRTIO_F_RING_RESET } from '../../../../lib/devices/virtio/abi.js'
import * as net from '../../../../lib/devices/virtio/net/abi.js'
import type { VirtioNetOptions } from '../../../../lib/devices/virtio/net/virtio-net.js'
import * as mmio from '../../../../lib/devices/virtio/transport/virtio-mmio.js'
import { le16 } from '../../../../lib/util/bits.js'
import { nativeMemory } from '../../../helpers/guest-memories.js'
import { arpRequest, isArpReplyFrom, NetRig } from '../../../helpers/net-driver.js'
import { noTapReason } from '../../../helpers/tap-interface.js'
import { turns, until } from '../../../helpers/virtio-driver.js'

const reason = noTapReason()
if (reason !== undefined) console.log(`virtio-net with several queues is not tested: ${reason}`)

const GUEST_MAC = '52:54:00:12:34:58'
const HOST = `10.214.${1 + (process.pid % 250)}.1`
const GUEST = HOST.replace(/1$/, '2')
const PAIRS = 4
const ACK = 0x7f000
const FEATURES = [net.VIRTIO_NET_F_MQ, net.VIRTIO_NET_F_CTRL_VQ, net.VIRTIO_NET_F_MRG_RXBUF]

describe.skipIf(reason !== undefined)('virtio-net with several queue pairs', () => {
  let rig: NetRig
  let tap: Tap
  let socket: Socket | undefined

  async function start(
    features: number[] = FEATURES,
    options: VirtioNetOptions = {},
  ): Promise<void> {
    tap = new Tap('nkq%d', {
      create: true,
      queues: PAIRS,
      mac: GUEST_MAC,
      address: `${HOST}/24`,
    })
    await tap.open()
    rig = new NetRig(tap, nativeMemory([0, 0x800000]), { queueSize: 256, ...options })
    rig.driver.start(features, 256)
  }

  afterEach(async () => {
    socket?.close()
    socket = undefined
    expect(rig.errors).toEqual([])
    expect(rig.reasons).toEqual([])
    const { name } = tap
    await rig.close()
    expect(existsSync(`/sys/class/net/${name}`)).toBe(false)
  })

  function setPairs(pairs: number, queue = 2 * PAIRS): number {
    rig.memory.write(0x7e000, Uint8Array.of(4, 0, ...le16(pairs)))
    rig.memory.write(ACK, Uint8Array.of(0xaa))
    rig.driver.queues[queue]!.add([
      { address: 0x7e000, length: 4 },
      { address: ACK, length: 1, writable: true },
    ])
    rig.driver.kick(queue)
    expect(rig.driver.queues[queue]!.used()).toHaveLength(1)
    return rig.memory.read(ACK, 1)[0]!
  }

  function offer(pair: number, count = 128): void {
    const base = 0x100000 + pair * 0x100000
    for (let i = 0; i < count; i++)
      rig.driver.queues[2 * pair]!.add([{ address: base + i * 2048, length: 1526, writable: true }])
    rig.driver.kick(2 * pair)
  }

  function send(pair: number, frame: Uint8Array): void {
    const address = 0x600000 + pair * 0x1000
    rig.memory.fill(address, 12)
    rig.memory.write(address + 12, frame)
    rig.driver.queues[2 * pair + 1]!.add([{ address, length: 12 + frame.length }])
    rig.driver.kick(2 * pair + 1)
  }

  const arp = () => arpRequest(GUEST_MAC, GUEST, HOST)
  const usedBy = (pair: number) => rig.driver.queues[2 * pair]!.deviceUsedIdx

  /** Has the host send one datagram in each of many flows, once it knows the guest. */
  async function datagrams(flows: number): Promise<void> {
    socket ??= createSocket('udp4')
    send(0, arp())
    await turns(5)
    for (let i = 0; i < flows; i++)
      await new Promise<void>((resolve) =>
        socket!.send(Buffer.alloc(20, i), 1000 + i, GUEST, () => resolve()),
      )
    await turns(20)
  }

  it('shows what it has, and the control queue after all pairs', async () => {
    await start()
    expect(rig.transport.queueCount).toBe(2 * PAIRS + 1)
    const at = mmio.VIRTIO_MMIO_CONFIG + net.CONFIG_MAX_VIRTQUEUE_PAIRS
    expect(rig.transport.read(at, 2)).toBe(PAIRS)
    expect(rig.device.queuePairs).toBe(1)
    expect(setPairs(3)).toBe(net.VIRTIO_NET_OK)
    expect(rig.device.queuePairs).toBe(3)
    rig.transport.reset()
    expect(rig.device.queuePairs).toBe(1)
    rig.driver.start([net.VIRTIO_NET_F_CTRL_VQ, net.VIRTIO_NET_F_CTRL_RX], 256)
    expect(setPairs(2, 2)).toBe(net.VIRTIO_NET_ERR) // the control queue is the third one now
  })

  it.each([0, PAIRS + 1, 0x8000, 0x8001, 0xffff])('refuses %d pairs', async (pairs) => {
    await start()
    expect(setPairs(pairs)).toBe(net.VIRTIO_NET_ERR)
    expect(rig.device.queuePairs).toBe(1)
  })

  it('refuses pairs that the driver has not set up', async () => {
    await start()
    rig.driver.negotiate(FEATURES)
    for (const queue of [0, 1, 2, 3, 4, 8]) {
      rig.driver.write(mmio.VIRTIO_MMIO_QUEUE_SEL, queue)
      rig.driver.setUpQueue(queue, 64)
    }
    rig.driver.driverOk()
    expect(setPairs(3)).toBe(net.VIRTIO_NET_ERR)
    expect(setPairs(2)).toBe(net.VIRTIO_NET_OK)
    send(3, arp()) // to a queue that is not there
  })

  it('receives on the first pair alone, then on all, then on the first alone', async () => {
    await start()
    await until(() => existsSync(`/sys/class/net/${tap.name}/tx_queue_len`))
    for (let pair = 0; pair < PAIRS; pair++) offer(pair)
    await datagrams(64)
    await until(() => usedBy(0) >= 65, 'all on the first')
    expect([1, 2, 3].map(usedBy)).toEqual([0, 0, 0])

    expect(setPairs(PAIRS)).toBe(net.VIRTIO_NET_OK)
    const before = usedBy(0)
    rig.driver.queues[0]!.used()
    offer(0, 60)
    await datagrams(64)
    await until(() => [1, 2, 3].every((pair) => usedBy(pair) > 0), 'frames on each pair')
    expect(usedBy(0)).toBeGreaterThan(before)

    expect(setPairs(1)).toBe(net.VIRTIO_NET_OK)
    await turns(10)
    const others = [1, 2, 3].map(usedBy)
    rig.driver.queues[0]!.used()
    offer(0, 100)
    const first = usedBy(0)
    await datagrams(64)
    await until(() => usedBy(0) >= first + 64, 'all on the first again')
    expect([1, 2, 3].map(usedBy)).toEqual(others)
  })

  it('sends on every pair in use; what is sent on others comes back too', async () => {
    await start()
    setPairs(3)
    for (let pair = 0; pair < PAIRS; pair++) send(pair, arp())
    const { txFrames, txDropped } = rig.device.counters
    expect(txFrames).toBeGreaterThanOrEqual(3)
    expect(txFrames + txDropped).toBe(PAIRS)
    for (let pair = 0; pair < PAIRS; pair++)
      expect(rig.driver.queues[2 * pair + 1]!.used()).toHaveLength(1)
    expect(rig.device.link).toBe(true)
  })

  it('lets no busy pair starve another', async () => {
    await start()
    setPairs(2)
    const busy = rig.driver.queues[3]!
    let frames = 0
    let stop = false
    rig.memory.fill(0x700000, 12)
    rig.memory.write(0x70000c, arp())
    const flood = (async () => {
      while (!stop) {
        frames += busy.used().length
        while (busy.freeCount > 0) busy.add([{ address: 0x700000, length: 54 }])
        rig.driver.kick(3)
        await turns()
      }
    })()
    offer(0)
    offer(1)
    send(0, arpRequest(GUEST_MAC, GUEST, HOST))
    await until(() => rig.tx.deviceUsedIdx === 1, 'the other pair')
    await until(() => usedBy(0) + usedBy(1) > 0, 'an answer')
    await until(() => frames > 2000, 'a flood')
    stop = true
    await flood
  })

  it('lets every pair go on when a limit that they share lets frames in again', async () => {
    await start(FEATURES, { receiveLimit: { operations: { perSecond: 400, burst: 1 } } })
    setPairs(PAIRS)
    for (let pair = 0; pair < PAIRS; pair++) offer(pair)
    await datagrams(64)
    const all = () => [0, 1, 2, 3].reduce((sum, pair) => sum + usedBy(pair), 0)
    await datagrams(64) // by now every pair has been told to wait
    await until(() => all() >= 130, 'all frames')
    expect([0, 1, 2, 3].filter((pair) => usedBy(pair) > 0).length).toBeGreaterThan(1)
  })

  it('has its receive queue reset and set up smaller, as `ethtool -G` does, while the others go on', async () => {
    await start([...FEATURES, VIRTIO_F_RING_RESET])
    setPairs(2)
    offer(0)
    offer(1)
    send(1, arp())
    await until(() => usedBy(0) + usedBy(1) > 0, 'an answer')
    const old = rig.driver.queues[0]!
    rig.driver.resetQueue(0)
    rig.driver.resetQueue(1)
    rig.memory.fill(0x100000, 0x100000, 0xee)
    const before = old.deviceUsedIdx
    for (let i = 0; i < 8; i++) send(1, arp())
    await turns(10)
    expect(old.deviceUsedIdx).toBe(before)
    expect(rig.memory.read(0x100000, 0x100000).every((byte) => byte === 0xee)).toBe(true)
    for (const queue of [0, 1]) rig.driver.setUpQueue(queue, 32)
    offer(0, 32)
    const seen = () => rig.driver.queues[0]!.deviceUsedIdx + rig.driver.queues[2]!.deviceUsedIdx
    const start0 = seen()
    send(0, arp())
    await until(() => rig.driver.queues[1]!.deviceUsedIdx === 1, 'a frame sent')
    await until(() => seen() > start0, 'an answer after the reset')
    expect(setPairs(PAIRS)).toBe(net.VIRTIO_NET_OK)
    rig.driver.resetQueue(2 * PAIRS)
    rig.driver.setUpQueue(2 * PAIRS, 4)
    expect(setPairs(1)).toBe(net.VIRTIO_NET_OK)
  })

  it('sends what waited for a limit, from every pair, when it is lifted', async () => {
    const transmitLimit = { operations: { perSecond: 1e-6, burst: 0.5 } }
    await start(FEATURES, { transmitLimit, receiveLimit: { bytes: { perSecond: 1e9 } } })
    setPairs(2)
    offer(0)
    offer(1)
    for (const pair of [0, 1, 1]) send(pair, arp())
    await turns(20)
    const sent = () => [0, 1].map((pair) => rig.driver.queues[2 * pair + 1]!.deviceUsedIdx)
    expect(sent()).toEqual([1, 0])
    expect(() =>
      rig.device.setLimits({ receiveLimit: null, transmitLimit: {}, x: 1 } as object),
    ).toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION', option: 'limits.x' }))
    await turns(20)
    expect(sent()).toEqual([1, 0])
    rig.device.setLimits({ transmitLimit: null })
    await until(() => sent().join() === '1,2', 'the other frames')
  })

  it('serves a driver that resets it over and over', async () => {
    await start()
    for (let round = 0; round < 30; round++) {
      expect(setPairs(1 + (round % PAIRS))).toBe(net.VIRTIO_NET_OK)
      for (let pair = 0; pair < PAIRS; pair++) offer(pair, 8)
      send(round % PAIRS, arp())
      rig.driver.start(FEATURES, 32)
    }
    rig.buffers(16)
    rig.send(arp())
    await rig.receive(isArpReplyFrom(HOST))
  })
})

describe.skipIf(reason !== undefined)('a TAP for several queues', () => {
  it('is opened with one queue too, and by one program', async () => {
    const first = new Tap('nkq%d', { create: true, queues: 2 })
    await first.open()
    const second = new Tap(first.name)
    await second.open() // a third queue of it
    await second.close()
    await first.close()
    expect(first.name).toMatch(/^nkq\d+$/)
  })

  it.each([0, 17, 1.5, '2'])('cannot have %j', (queues) => {
    expect(() => new Tap('tap0', { queues: queues as number })).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION', option: 'queues' }),
    )
  })

  it('needs an interface that was made for it', async () => {
    const one = new Tap('nkq%d', { create: true })
    await one.open()
    const error = await new Tap(one.name, { queues: 2 }).open().catch((e) => e)
    expect(error).toMatchObject({ code: 'ERR_NET', option: 'name' })
    expect(error.message).toContain('multi_queue')
    await one.close()
  })
})
