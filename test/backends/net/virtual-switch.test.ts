import { afterEach, describe, expect, it } from 'vitest'
import { type SwitchPort, VirtualSwitch } from '../../../lib/backends/net/virtual-switch.js'
import * as net from '../../../lib/devices/virtio/net/abi.js'
import { plainMemory } from '../../helpers/guest-memories.js'
import { NetRig } from '../../helpers/net-driver.js'
import { turns, until } from '../../helpers/virtio-driver.js'

const MACS = ['52:54:00:00:00:01', '52:54:00:00:00:02', '52:54:00:00:00:03']
const bytes = (mac: string) => mac.split(':').map((byte) => Number.parseInt(byte, 16))

function frame(to: string, from: string, payload: string): Uint8Array {
  return Uint8Array.from([...bytes(to), ...bytes(from), 0x88, 0xb5, ...Buffer.from(payload)])
}

const payloadOf = (received: Uint8Array) => Buffer.from(received.subarray(14)).toString()

describe('VirtualSwitch', () => {
  const network = new VirtualSwitch()
  const rigs: NetRig[] = []

  async function plug(count: number, features: number[] = []): Promise<NetRig[]> {
    for (const mac of MACS.slice(0, count)) {
      const port = network.port({ mac })
      await port.open()
      const rig = new NetRig(port, plainMemory([0, 0x200000]))
      rig.driver.start(features, 64)
      rigs.push(rig)
    }
    return rigs
  }
  afterEach(async () => {
    for (const rig of rigs.splice(0)) {
      expect(rig.errors).toEqual([])
      await rig.close()
    }
    network.removeAllListeners()
  })

  it('carries frames from one guest to another, and tells its program', async () => {
    const [a, b, c] = await plug(3)
    for (const rig of rigs) rig.buffers(8)
    const seen: (string | undefined)[] = []
    network.on('frame', (_frame, from) => seen.push(from?.mac))
    a!.send(frame('ff:ff:ff:ff:ff:ff', MACS[0]!, 'who is there'))
    const { header, frame: got } = await b!.receive(() => true)
    expect(payloadOf(got)).toBe('who is there')
    expect([...header]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0])
    await c!.receive(() => true)
    b!.send(frame(MACS[0]!, MACS[1]!, 'I am'))
    expect(payloadOf((await a!.receive(() => true)).frame)).toBe('I am')
    await turns(3)
    expect(c!.rx.deviceUsedIdx).toBe(1) // what is for one alone reaches no other
    expect(seen).toEqual([MACS[0], MACS[1]])
  })

  it('carries frames on when a listener throws, whose program is told as of any exception', async () => {
    const [a, b] = await plug(2)
    b!.buffers(4)
    const others = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException')
    const caught = new Promise((resolve) => process.once('uncaughtException', resolve))
    try {
      network.once('frame', () => {
        throw new Error('a fault in the program')
      })
      a!.send(frame(MACS[1]!, MACS[0]!, 'one'))
      expect(payloadOf((await b!.receive(() => true)).frame)).toBe('one')
      expect(await caught).toMatchObject({ message: 'a fault in the program' })
    } finally {
      for (const listener of others) process.on('uncaughtException', listener)
    }
    expect(a!.tx.used()).toHaveLength(1)
  })

  it('takes frames from its program', async () => {
    const [a] = await plug(1)
    a!.buffers(4)
    network.inject(frame(MACS[0]!, '02:00:00:00:00:99', 'hello'))
    expect(payloadOf((await a!.receive(() => true)).frame)).toBe('hello')
    network.inject(new Uint8Array(13))
  })

  it('keeps some frames for a guest without buffers, and counts what it loses', async () => {
    const [a] = await plug(1)
    for (let i = 0; i < 300; i++)
      network.inject(frame(MACS[0]!, '02:00:00:00:00:99', `number ${i}`))
    expect((a!.backend as SwitchPort).overruns).toBe(44)
    a!.buffers(16)
    for (let i = 0; i < 256; i++)
      expect(payloadOf((await a!.receive(() => true)).frame)).toBe(`number ${i}`)
  })

  it('spreads long frames over buffers, if that was agreed on, and loses them if not', async () => {
    const [a] = await plug(1, [net.VIRTIO_NET_F_MRG_RXBUF])
    a!.buffers(16, 256)
    const long = frame(MACS[0]!, '02:00:00:00:00:99', 'x'.repeat(900))
    network.inject(long)
    await turns(3)
    const parts = a!.received()
    expect(parts[0]!.header[10]).toBe(4)
    expect(parts.map(({ length }) => length)).toEqual([256, 256, 256, 12 + long.length - 768])
    a!.transport.reset()
    a!.driver.start([], 64)
    a!.buffers(4, 256)
    network.inject(long)
    await turns(3)
    expect((a!.backend as SwitchPort).overruns).toBe(1)
  })

  it('lets a long frame wait for buffers that the driver has yet to give back', async () => {
    const [a] = await plug(1, [net.VIRTIO_NET_F_MRG_RXBUF])
    a!.buffers(8, 256)
    const from = '02:00:00:00:00:99'
    for (let i = 0; i < 6; i++) network.inject(frame(MACS[0]!, from, `number ${i}`))
    await until(() => a!.rx.deviceUsedIdx === 6, 'short frames')
    a!.received()
    const long = frame(MACS[0]!, from, 'x'.repeat(900))
    network.inject(long)
    network.inject(frame(MACS[0]!, from, 'the one behind'))
    await turns(5)
    expect(a!.rx.deviceUsedIdx).toBe(6)
    a!.buffers(6, 256, 0x90000)
    await until(() => a!.rx.deviceUsedIdx === 11, 'both')
    const parts = a!.received()
    expect(parts.map(({ length }) => length).slice(0, 4)).toEqual([
      256,
      256,
      256,
      long.length - 756,
    ])
    expect(payloadOf(parts[4]!.bytes)).toBe('the one behind')
    expect((a!.backend as SwitchPort).overruns).toBe(0)
    // Three buffers are left; with the driver's five more it has as many as before, and those are too few.
    network.inject(frame(MACS[0]!, from, 'x'.repeat(3000)))
    await turns(5)
    expect((a!.backend as SwitchPort).overruns).toBe(0)
    a!.buffers(5, 256, 0xa0000)
    await until(() => (a!.backend as SwitchPort).overruns === 1, 'the loss')
  })

  it('delivers every frame in the end under a limit', async () => {
    const port = network.port({ mac: MACS[0]! })
    await port.open()
    const rig = new NetRig(port, plainMemory([0, 0x200000]), {
      receiveLimit: { operations: { perSecond: 200, burst: 2 } },
    })
    rigs.push(rig)
    rig.driver.start([], 64)
    rig.buffers(32)
    for (let i = 0; i < 20; i++) {
      network.inject(frame(MACS[0]!, '02:00:00:00:00:99', `number ${i}`))
      await turns(2)
    }
    for (let i = 0; i < 20; i++)
      expect(payloadOf((await rig.receive(() => true)).frame)).toBe(`number ${i}`)
  })

  it('takes a card out when its port is closed', async () => {
    const [a, b] = await plug(2)
    a!.buffers(4)
    b!.buffers(4)
    await b!.backend.close()
    a!.send(frame(MACS[1]!, MACS[0]!, 'gone'))
    await turns(3)
    expect(b!.rx.deviceUsedIdx).toBe(0)
  })
})
