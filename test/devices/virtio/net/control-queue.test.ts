import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { VirtualSwitch } from '../../../../lib/backends/net/virtual-switch.js'
import {
  VIRTIO_CONFIG_S_NEEDS_RESET,
  VIRTIO_F_INDIRECT_DESC,
} from '../../../../lib/devices/virtio/abi.js'
import * as net from '../../../../lib/devices/virtio/net/abi.js'
import type { VirtioNetOptions } from '../../../../lib/devices/virtio/net/virtio-net.js'
import * as mmio from '../../../../lib/devices/virtio/transport/virtio-mmio.js'
import { le16, le32 } from '../../../../lib/util/bits.js'
import { nativeMemory } from '../../../helpers/guest-memories.js'
import { NetRig } from '../../../helpers/net-driver.js'
import { type Segment, turns, until } from '../../../helpers/virtio-driver.js'

const RAM = 0x200000
const MAC = '52:54:00:00:00:01'
const OTHER = '52:54:00:00:00:02'
const COMMAND = 0x180000
const ACK = 0x1f0000
const ALL = [
  VIRTIO_F_INDIRECT_DESC,
  net.VIRTIO_NET_F_CTRL_VQ,
  net.VIRTIO_NET_F_CTRL_RX,
  net.VIRTIO_NET_F_CTRL_RX_EXTRA,
  net.VIRTIO_NET_F_CTRL_VLAN,
  net.VIRTIO_NET_F_CTRL_MAC_ADDR,
  net.VIRTIO_NET_F_GUEST_ANNOUNCE,
  net.VIRTIO_NET_F_STATUS,
  net.VIRTIO_NET_F_MTU,
  net.VIRTIO_NET_F_MAC,
]
const { VIRTIO_NET_OK: OK, VIRTIO_NET_ERR: ERR } = net

const bytes = (mac: string) => mac.split(':').map((byte) => Number.parseInt(byte, 16))
const table = (...macs: string[]) => [...le32(macs.length), ...macs.flatMap(bytes)]

describe('the control queue of virtio-net', () => {
  const network = new VirtualSwitch()
  let rig: NetRig

  async function start(features = ALL, options: VirtioNetOptions = {}): Promise<void> {
    const port = network.port({ mac: MAC })
    await port.open()
    rig = new NetRig(port, nativeMemory([0, RAM]), options)
    rig.driver.start(features, 64)
    rig.buffers(16)
  }

  afterEach(async () => {
    expect(rig.errors).toEqual([])
    expect(rig.driver.status & VIRTIO_CONFIG_S_NEEDS_RESET).toBe(0)
    expect(command(net.VIRTIO_NET_CTRL_RX, 0, [1])).toBe(OK)
    expect((rig.memory as ReturnType<typeof nativeMemory>).canariesIntact()).toBe(true)
    await rig.close()
  })

  /** Sends a command as a driver does, and returns its ack. */
  function command(kind: number, number: number, data: readonly number[] = []): number {
    const ring = rig.driver.queues[2]!
    rig.memory.write(COMMAND, Uint8Array.from([kind, number, ...data]))
    rig.memory.write(ACK, Uint8Array.of(0xaa))
    ring.add([
      { address: COMMAND, length: 2 },
      ...(data.length > 0 ? [{ address: COMMAND + 2, length: data.length }] : []),
      { address: ACK, length: 1, writable: true },
    ])
    rig.driver.kick(2)
    expect(ring.used().map(({ length }) => length)).toEqual([1])
    return rig.memory.read(ACK, 1)[0]!
  }

  /** Which of the frames reach the guest. */
  async function reaching(...frames: { to: string; type?: number[] }[]): Promise<string[]> {
    for (const [i, { to, type = [0x88, 0xb5] }] of frames.entries())
      network.inject(Uint8Array.from([...bytes(to), ...bytes(OTHER), ...type, i]))
    await turns(4)
    const names = rig
      .received()
      .map(({ bytes: frame }) => Buffer.from(frame.subarray(0, 6)).toString('hex'))
    rig.buffers(names.length)
    return names
  }

  const hex = (mac: string) => mac.replaceAll(':', '')

  it('is offered, after the one pair of queues', async () => {
    await start()
    expect(rig.transport.queueCount).toBe(3)
    for (const bit of ALL.slice(1).filter((bit) => bit !== net.VIRTIO_NET_F_MTU))
      expect((rig.driver.deviceFeatures >> BigInt(bit)) & 1n, `feature ${bit}`).toBe(1n)
  })

  it('receives everything until the driver says otherwise, then what is for it', async () => {
    await start()
    const multicast = '01:00:5e:00:00:01'
    const broadcast = 'ff:ff:ff:ff:ff:ff'
    const frames = [{ to: MAC }, { to: OTHER }, { to: multicast }, { to: broadcast }]
    expect(await reaching(...frames)).toHaveLength(4)
    expect(command(net.VIRTIO_NET_CTRL_RX, net.VIRTIO_NET_CTRL_RX_PROMISC, [0])).toBe(OK)
    expect(await reaching(...frames)).toEqual([hex(MAC), hex(broadcast)])
    expect(command(net.VIRTIO_NET_CTRL_RX, net.VIRTIO_NET_CTRL_RX_ALLMULTI, [1])).toBe(OK)
    expect(await reaching(...frames)).toEqual([hex(MAC), hex(multicast), hex(broadcast)])
    expect(command(net.VIRTIO_NET_CTRL_RX, net.VIRTIO_NET_CTRL_RX_NOBCAST, [1])).toBe(OK)
    expect(command(net.VIRTIO_NET_CTRL_RX, net.VIRTIO_NET_CTRL_RX_NOMULTI, [1])).toBe(OK)
    expect(await reaching(...frames)).toEqual([hex(MAC)])
    expect(command(net.VIRTIO_NET_CTRL_RX, net.VIRTIO_NET_CTRL_RX_ALLUNI, [1])).toBe(OK)
    expect(await reaching(...frames)).toEqual([hex(MAC), hex(OTHER)])
    expect(command(net.VIRTIO_NET_CTRL_RX, net.VIRTIO_NET_CTRL_RX_NOUNI, [1])).toBe(OK)
    expect(await reaching(...frames)).toEqual([])
    rig.transport.reset()
    rig.driver.start(ALL, 64)
    rig.buffers(16)
    expect(await reaching(...frames)).toHaveLength(4)
  })

  it('keeps a table of addresses', async () => {
    await start()
    const [other, group, foreign] = ['52:54:00:00:00:07', '01:00:5e:00:00:02', '01:00:5e:00:00:03']
    command(net.VIRTIO_NET_CTRL_RX, net.VIRTIO_NET_CTRL_RX_PROMISC, [0])
    const set = (data: number[]) =>
      command(net.VIRTIO_NET_CTRL_MAC, net.VIRTIO_NET_CTRL_MAC_TABLE_SET, data)
    expect(set([...table(other), ...table(group)])).toBe(OK)
    const frames = [{ to: MAC }, { to: other }, { to: OTHER }, { to: group }, { to: foreign }]
    expect(await reaching(...frames)).toEqual([MAC, other, group].map(hex))
    expect(set([...table(), ...table()])).toBe(OK)
    expect(await reaching(...frames)).toEqual([hex(MAC)])
    const many = Array.from({ length: 65 }, (_, i) => `02:00:00:00:01:${(100 + i).toString(16)}`)
    expect(set([...table(...many), ...table()])).toBe(OK)
    expect(await reaching(...frames)).toEqual([MAC, other, OTHER].map(hex))
  })

  it('sets the address of the card, until a reset', async () => {
    await start()
    const mac = '52:54:00:00:00:0a'
    command(net.VIRTIO_NET_CTRL_RX, net.VIRTIO_NET_CTRL_RX_PROMISC, [0])
    const set = (address: string) =>
      command(net.VIRTIO_NET_CTRL_MAC, net.VIRTIO_NET_CTRL_MAC_ADDR_SET, bytes(address))
    expect(set(mac)).toBe(OK)
    expect(rig.device.mac).toBe(mac)
    expect(await reaching({ to: MAC }, { to: mac })).toEqual([hex(mac)])
    expect(set('01:00:5e:00:00:01')).toBe(ERR)
    expect(set('00:00:00:00:00:00')).toBe(ERR)
    expect(rig.device.mac).toBe(mac)
    rig.transport.reset()
    expect(rig.device.mac).toBe(MAC)
    rig.driver.start(ALL, 64)
  })

  it('filters by VLAN', async () => {
    await start()
    command(net.VIRTIO_NET_CTRL_RX, net.VIRTIO_NET_CTRL_RX_PROMISC, [0])
    const tagged = (vlan: number) => ({ to: MAC, type: [0x81, 0, 0x20 | (vlan >> 8), vlan & 0xff] })
    const frames = [tagged(0), tagged(5), tagged(4095), { to: MAC }]
    expect(await reaching(...frames)).toHaveLength(2)
    const vlan = (number: number, id: number) => command(net.VIRTIO_NET_CTRL_VLAN, number, le16(id))
    expect(vlan(net.VIRTIO_NET_CTRL_VLAN_ADD, 5)).toBe(OK)
    expect(vlan(net.VIRTIO_NET_CTRL_VLAN_ADD, 4095)).toBe(OK)
    expect(await reaching(...frames)).toHaveLength(4)
    expect(vlan(net.VIRTIO_NET_CTRL_VLAN_DEL, 5)).toBe(OK)
    expect(await reaching(...frames)).toHaveLength(3)
    expect(vlan(net.VIRTIO_NET_CTRL_VLAN_ADD, 4096)).toBe(ERR)
    expect(vlan(net.VIRTIO_NET_CTRL_VLAN_ADD, 0xffff)).toBe(ERR)
    expect(vlan(2, 5)).toBe(ERR)
  })

  it('asks the guest to announce itself, until it says that it has', async () => {
    await start()
    const status = () => rig.transport.read(mmio.VIRTIO_MMIO_CONFIG + net.CONFIG_STATUS, 2)
    const pulses = rig.irq.pulses
    expect(rig.device.announce()).toBe(true)
    expect(rig.irq.pulses).toBe(pulses + 1)
    expect(rig.driver.read(mmio.VIRTIO_MMIO_INTERRUPT_STATUS) & 2).toBe(2)
    expect(status()).toBe(net.VIRTIO_NET_S_LINK_UP | net.VIRTIO_NET_S_ANNOUNCE)
    expect(command(net.VIRTIO_NET_CTRL_ANNOUNCE, net.VIRTIO_NET_CTRL_ANNOUNCE_ACK)).toBe(OK)
    expect(status()).toBe(net.VIRTIO_NET_S_LINK_UP)
    rig.device.announce()
    rig.transport.reset()
    expect(status()).toBe(net.VIRTIO_NET_S_LINK_UP)
    expect(rig.device.announce()).toBe(false)
    rig.driver.start(
      ALL.filter((bit) => bit !== net.VIRTIO_NET_F_GUEST_ANNOUNCE),
      64,
    )
    expect(rig.device.announce()).toBe(false)
    expect(command(net.VIRTIO_NET_CTRL_ANNOUNCE, net.VIRTIO_NET_CTRL_ANNOUNCE_ACK)).toBe(ERR)
  })

  it('refuses commands whose feature was not negotiated', async () => {
    await start([net.VIRTIO_NET_F_CTRL_VQ, net.VIRTIO_NET_F_CTRL_RX])
    expect(command(net.VIRTIO_NET_CTRL_RX, net.VIRTIO_NET_CTRL_RX_NOBCAST, [1])).toBe(ERR)
    expect(command(net.VIRTIO_NET_CTRL_MAC, net.VIRTIO_NET_CTRL_MAC_ADDR_SET, bytes(OTHER))).toBe(
      ERR,
    )
    expect(command(net.VIRTIO_NET_CTRL_VLAN, net.VIRTIO_NET_CTRL_VLAN_ADD, [1, 0])).toBe(ERR)
    expect(command(net.VIRTIO_NET_CTRL_MQ, net.VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, [1, 0])).toBe(ERR)
    expect(command(net.VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, Array(8).fill(0))).toBe(ERR)
    expect(rig.device.mac).toBe(MAC)
  })

  it.each<[string, number, number, number[]]>([
    ['an unknown class', 0x77, 0, [1]],
    ['an unknown command', net.VIRTIO_NET_CTRL_RX, 6, [1]],
    ['an unknown command about addresses', net.VIRTIO_NET_CTRL_MAC, 2, [...table(), ...table()]],
    ['an unknown command about announcing', net.VIRTIO_NET_CTRL_ANNOUNCE, 1, []],
    ['no data', net.VIRTIO_NET_CTRL_RX, 0, []],
    ['more data than the command has', net.VIRTIO_NET_CTRL_RX, 0, [1, 0]],
    ['neither on nor off', net.VIRTIO_NET_CTRL_RX, 0, [2]],
    ['an acknowledgement with data', net.VIRTIO_NET_CTRL_ANNOUNCE, 0, [0]],
    ['five bytes of address', net.VIRTIO_NET_CTRL_MAC, 1, [2, 0, 0, 0, 0]],
    ['seven bytes of address', net.VIRTIO_NET_CTRL_MAC, 1, [2, 0, 0, 0, 0, 1, 0]],
    ['one byte of VLAN', net.VIRTIO_NET_CTRL_VLAN, 0, [1]],
    ['a table without a count', net.VIRTIO_NET_CTRL_MAC, 0, [0, 0, 0]],
    ['one table for two', net.VIRTIO_NET_CTRL_MAC, 0, table(OTHER)],
    ['a table of 2^32 - 1 entries', net.VIRTIO_NET_CTRL_MAC, 0, [...le32(0xffffffff), ...table()]],
    [
      'a table that is one longer than it is',
      net.VIRTIO_NET_CTRL_MAC,
      0,
      [...le32(3), ...Array(16).fill(2)],
    ],
    [
      'a second table of 2^32 - 1 entries',
      net.VIRTIO_NET_CTRL_MAC,
      0,
      [...table(OTHER), ...le32(0xffffffff)],
    ],
    ['bytes after the tables', net.VIRTIO_NET_CTRL_MAC, 0, [...table(), ...table(), 0]],
  ])('refuses %s', async (_name, kind, number, data) => {
    await start()
    expect(command(kind, number, data)).toBe(ERR)
    expect(rig.device.counters.controlErrors).toBe(1)
    expect(await reaching({ to: OTHER }, { to: '01:00:5e:00:00:01' })).toHaveLength(2)
  })

  it.each<[string, Segment[], number]>([
    ['without room for an ack', [{ address: COMMAND, length: 3 }], 0],
    [
      'whose ack lies outside memory',
      [
        { address: COMMAND, length: 3 },
        { address: RAM, length: 1, writable: true },
      ],
      0,
    ],
    ['of an ack alone', [{ address: ACK, length: 1, writable: true }], 1],
    [
      'of one byte',
      [
        { address: COMMAND, length: 1 },
        { address: ACK, length: 1, writable: true },
      ],
      1,
    ],
    [
      'outside memory',
      [
        { address: RAM, length: 3 },
        { address: ACK, length: 1, writable: true },
      ],
      1,
    ],
    [
      'that claims 4 GiB',
      [
        { address: COMMAND, length: 0xffff_ffff },
        { address: ACK, length: 1, writable: true },
      ],
      1,
    ],
  ])('takes no command %s', async (_name, segments, written) => {
    await start()
    rig.memory.write(COMMAND, Uint8Array.of(net.VIRTIO_NET_CTRL_RX, 0, 0))
    const ring = rig.driver.queues[2]!
    ring.add(segments)
    rig.driver.kick(2)
    expect(ring.used().map(({ length }) => length)).toEqual([written])
    if (written === 1) expect(rig.memory.read(ACK, 1)[0]).toBe(ERR)
    expect(rig.device.counters.controlErrors).toBe(1)
    expect(await reaching({ to: OTHER })).toHaveLength(1)
  })

  it('takes a command in single bytes, and one with more room than the ack needs', async () => {
    await start()
    rig.memory.write(COMMAND, Uint8Array.from([1, 0, ...table(OTHER), ...table()]))
    const ring = rig.driver.queues[2]!
    ring.add([
      ...Array.from({ length: 16 }, (_, i) => ({ address: COMMAND + i, length: 1 })),
      { address: ACK, length: 64, writable: true },
    ])
    rig.driver.kick(2)
    expect(ring.used().map(({ length }) => length)).toEqual([1])
    expect(rig.memory.read(ACK, 1)[0]).toBe(OK)
  })

  it('answers whatever bytes it gets', async () => {
    await start()
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 6 }),
        fc.integer({ min: 0, max: 6 }),
        fc.uint8Array({ maxLength: 40 }),
        (kind, number, data) => {
          expect([OK, ERR]).toContain(command(kind, number, [...data]))
        },
      ),
      { numRuns: 300 },
    )
  })

  it('serves a flood of long tables within bounds', async () => {
    await start()
    rig.memory.fill(COMMAND, 0x60000)
    rig.memory.write(COMMAND, Uint8Array.from([1, 0, ...le32(60_000)]))
    rig.memory.write(COMMAND + 6 + 360_000, Uint8Array.from(le32(0)))
    const ring = rig.driver.queues[2]!
    for (let round = 0; round < 50; round++) {
      for (let i = 0; i < 32; i++)
        ring.add([
          { address: COMMAND, length: 10 + 360_000 },
          { address: ACK, length: 1, writable: true },
        ])
      rig.driver.kick(2)
      await until(() => ring.deviceUsedIdx === ring.availIdx, 'all of them')
      expect(ring.used()).toHaveLength(32)
      expect(rig.memory.read(ACK, 1)[0]).toBe(OK)
    }
  })

  it('reports its MTU and holds received frames to it', async () => {
    await start(ALL, { mtu: 1400 })
    expect(rig.transport.read(mmio.VIRTIO_MMIO_CONFIG + net.CONFIG_MTU, 2)).toBe(1400)
    const frame = (length: number) => {
      const whole = new Uint8Array(length)
      whole.set([...bytes(MAC), ...bytes(OTHER), 0x88, 0xb5])
      return whole
    }
    network.inject(frame(1415))
    network.inject(frame(1414))
    await turns(4)
    expect(rig.received().map(({ length }) => length)).toEqual([12 + 1414])
  })

  it.each([67, 65536, 1500.5, '1500', null])('has no MTU of %j', async (mtu) => {
    await start()
    const wrong = { mtu: mtu as number }
    expect(() => new NetRig(rig.backend, rig.memory, wrong)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION', option: 'mtu' }),
    )
  })

  describe('the link', () => {
    const status = () => rig.transport.read(mmio.VIRTIO_MMIO_CONFIG + net.CONFIG_STATUS, 2)

    it('goes down and up with an interrupt; frames are lost both ways meanwhile', async () => {
      const told: boolean[] = []
      await start(ALL, { onLink: (up) => told.push(up) })
      const sent: number[] = []
      network.on('frame', (frame) => sent.push(frame.length))
      const pulses = rig.irq.pulses
      const generation = rig.driver.read(mmio.VIRTIO_MMIO_CONFIG_GENERATION)
      rig.device.setLink(false)
      rig.device.setLink(false)
      expect(rig.irq.pulses).toBe(pulses + 1)
      expect(rig.driver.read(mmio.VIRTIO_MMIO_CONFIG_GENERATION)).not.toBe(generation)
      expect(status()).toBe(0)
      rig.send(Uint8Array.from([...bytes(OTHER), ...bytes(MAC), 0x88, 0xb5]))
      expect(rig.tx.used()).toHaveLength(1)
      expect(rig.device.counters.txDropped).toBe(1)
      expect(sent).toEqual([])
      expect(await reaching({ to: MAC })).toEqual([])
      rig.device.setLink(true)
      expect(status()).toBe(net.VIRTIO_NET_S_LINK_UP)
      expect(await reaching({ to: MAC })).toEqual([hex(MAC)])
      expect(told).toEqual([false, true])
      network.removeAllListeners()
    })

    it('stays down through a reset, and may be down from the start', async () => {
      await start(ALL, { link: false })
      expect(rig.device.link).toBe(false)
      expect(status()).toBe(0)
      expect(await reaching({ to: MAC })).toEqual([])
      rig.transport.reset()
      rig.driver.start(ALL, 64)
      rig.buffers(16)
      expect(status()).toBe(0)
      expect(await reaching({ to: MAC })).toEqual([])
      rig.device.setLink(true)
      expect(await reaching({ to: MAC })).toEqual([hex(MAC)])
    })

    it('is not announced by interrupt to a driver that does not know it', async () => {
      await start([net.VIRTIO_NET_F_CTRL_VQ, net.VIRTIO_NET_F_CTRL_RX])
      const pulses = rig.irq.pulses
      rig.device.setLink(false)
      expect(rig.irq.pulses).toBe(pulses)
      expect(() => rig.device.setLink(1 as unknown as boolean)).toThrow(
        expect.objectContaining({ code: 'ERR_INVALID_OPTION', option: 'up' }),
      )
    })
  })
})
