import { execFileSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { accessSync, constants } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { Tap } from '../../../lib/backends/net/tap.js'
import * as virtio from '../../../lib/devices/virtio/abi.js'
import * as net from '../../../lib/devices/virtio/net/abi.js'
import { nativeMemory } from '../../helpers/guest-memories.js'
import { arpRequest, isArpReplyFrom, NetRig } from '../../helpers/net-driver.js'
import { openFds } from '../../helpers/process-state.js'
import { noTapReason } from '../../helpers/tap-interface.js'
import { turns, until } from '../../helpers/virtio-driver.js'

const noTap = noTapReason()
const noVhost = noTap ?? noVhostReason()
if (noVhost !== undefined) console.log(`vhost-net is not tested: ${noVhost}`)

function noVhostReason(): string | undefined {
  try {
    accessSync('/dev/vhost-net', constants.R_OK | constants.W_OK)
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}

const MAC = '52:54:00:12:34:5b'
const HOST = `10.215.${1 + (process.pid % 250)}.1`
const GUEST = HOST.replace(/1$/, '2')
const FEATURES = [virtio.VIRTIO_F_INDIRECT_DESC, virtio.VIRTIO_F_EVENT_IDX]

const ip = (...args: string[]) => execFileSync('ip', args, { stdio: ['ignore', 'pipe', 'pipe'] })
const isReply = isArpReplyFrom(HOST)

describe('the option vhost', () => {
  it.each([1, 'yes', null, {}])('refuses %o', (vhost) => {
    expect(() => new Tap('nkv0', { vhost: vhost as boolean })).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION', option: 'vhost', value: vhost }),
    )
  })

  it.skipIf(noTap !== undefined || noVhost === undefined)(
    'opens nothing where there is no vhost-net, unless that may be missed',
    async () => {
      const before = openFds()
      await expect(new Tap('nkv%d', { create: true, vhost: true }).open()).rejects.toMatchObject({
        code: 'ERR_NET',
        option: 'vhost',
        message: expect.stringContaining('/dev/vhost-net'),
      })
      expect(openFds()).toBe(before)
      const tap = new Tap('nkv%d', { create: true, vhost: 'auto' })
      await tap.open()
      expect(tap.ringServer).toBeUndefined()
      await tap.close()
    },
  )
})

describe.skipIf(noVhost !== undefined)('virtio-net by vhost-net', () => {
  let tap: Tap
  let rig: NetRig
  let fds = 0
  /** What the device is to complain of. */
  let reasons: string[] = []

  async function start(features: readonly number[], queues = 1): Promise<void> {
    reasons = []
    fds = openFds()
    tap = new Tap('nkv%d', { create: true, vhost: true, queues, mac: MAC, address: `${HOST}/24` })
    await tap.open()
    rig = new NetRig(tap, nativeMemory([0, 0x100000]))
    rig.driver.start([...FEATURES, ...features], 64)
  }

  async function exchange(): Promise<void> {
    rig.send(arpRequest(MAC, GUEST, HOST))
    await rig.receive(isReply)
  }

  afterEach(async () => {
    await rig.close()
    expect(rig.errors).toEqual([])
    expect(rig.reasons).toEqual(reasons)
    expect(openFds()).toBe(fds)
  })

  it.each([
    ['with buffers that are not merged', []],
    ['with mergeable buffers and offloads', [net.VIRTIO_NET_F_MRG_RXBUF, net.VIRTIO_NET_F_CSUM]],
  ])('asks the host for its address and is answered, %s', async (_name, features) => {
    await start(features)
    expect(rig.device.vhost).toBe(true)
    rig.buffers(16)
    const pulses = rig.irq.pulses
    await exchange()
    await until(() => rig.irq.pulses > pulses, 'an interrupt')
    expect(rig.device.counters.txFrames).toBeGreaterThan(0)
    expect(rig.device.counters.rxBytes).toBeGreaterThan(0)
  })

  it('works after resets, of one queue and of all', async () => {
    await start([virtio.VIRTIO_F_RING_RESET])
    rig.buffers(16)
    await exchange()
    rig.driver.resetQueue(0)
    expect(rig.driver.queueResetting(0)).toBe(false)
    rig.driver.setUpQueue(0, 32)
    rig.buffers(16)
    await exchange()
    rig.driver.start(FEATURES, 16)
    rig.buffers(8)
    await exchange()
  })

  it('writes nothing while the machine is paused, and goes on after it', async () => {
    await start([])
    rig.buffers(32)
    await exchange()
    rig.transport.pause()
    const before = rig.memory.read(0, 0x100000)
    const socket = createSocket('udp4')
    for (let i = 0; i < 4; i++) socket.send('while it is paused', 9, GUEST)
    rig.tx.add([{ address: 0x60000, length: 60 }])
    const offered = rig.memory.read(rig.tx.driverArea, 16)
    rig.driver.kick(1)
    for (let i = 0; i < 30; i++) await turns(10)
    expect(rig.rx.deviceUsedIdx).toBe(rig.rx.usedIdx)
    const now = rig.memory.read(0, 0x100000)
    now.set(before.subarray(rig.tx.driverArea, rig.tx.driverArea + 16), rig.tx.driverArea)
    expect(offered).not.toEqual(before.subarray(rig.tx.driverArea, rig.tx.driverArea + 16))
    socket.close()
    rig.transport.resume()
    await exchange()
  })

  it('has its link down when the interface goes, and works with the next one of that name', async () => {
    await start([])
    rig.buffers(32)
    await exchange()
    const { name } = tap
    ip('link', 'set', name, 'down')
    await until(() => !rig.device.link, 'the link to go down')
    ip('link', 'set', name, 'up')
    await until(() => rig.device.link, 'the link to come up')
    await exchange()
    ip('link', 'del', name)
    await until(() => !rig.device.link, 'the link to go down')
    ip('tuntap', 'add', name, 'mode', 'tap')
    try {
      ip('address', 'add', `${HOST}/24`, 'dev', name)
      ip('link', 'set', name, 'up')
      await until(() => rig.device.link, 'the link to come up')
      await exchange()
    } finally {
      await rig.close()
      ip('tuntap', 'del', name, 'mode', 'tap')
    }
  })

  it('serves every pair that is in use', async () => {
    await start([net.VIRTIO_NET_F_MQ, net.VIRTIO_NET_F_CTRL_VQ], 2)
    rig.memory.write(0x7e000, Uint8Array.of(4, 0, 2, 0))
    rig.driver.queues[4]!.add([
      { address: 0x7e000, length: 4 },
      { address: 0x7f000, length: 1, writable: true },
    ])
    rig.driver.kick(4)
    expect(rig.memory.read(0x7f000, 1)).toEqual(Uint8Array.of(net.VIRTIO_NET_OK))
    for (const queue of [1, 3]) {
      const frame = arpRequest(MAC, GUEST, HOST)
      rig.memory.write(0x60000 + queue * 0x1000 + 12, frame)
      rig.driver.queues[queue]!.add([
        { address: 0x60000 + queue * 0x1000, length: 12 + frame.length },
      ])
      rig.driver.kick(queue)
      await until(() => rig.driver.queues[queue]!.deviceUsedIdx === 1, `queue ${queue}`)
    }
  })

  it('cannot be captured', async () => {
    await start([])
    expect(() => rig.device.capture('/dev/null')).toThrow(
      expect.objectContaining({ code: 'ERR_STATE', option: 'vhost' }),
    )
  })

  it('needs a reset when the driver breaks a ring, and works after it', async () => {
    await start([])
    rig.tx.offer(1000) // 2.7.6: beyond the queue
    rig.tx.publish()
    rig.driver.kick(1)
    await until(() => rig.reasons.length > 0, 'a complaint')
    reasons = ['queue 1: vhost-net cannot go on from what it holds']
    expect(rig.driver.status & virtio.VIRTIO_CONFIG_S_NEEDS_RESET).not.toBe(0)
    rig.driver.start(FEATURES, 64)
    rig.buffers(16)
    await exchange()
  })

  it('needs a reset when a descriptor is outside of memory', async () => {
    await start([])
    rig.tx.add([{ address: 0x10_0000_0000, length: 100 }])
    rig.driver.kick(1)
    await until(() => rig.reasons.length > 0, 'a complaint')
    reasons = ['queue 1: vhost-net cannot go on from what it holds']
  })
})
