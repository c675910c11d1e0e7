import { afterEach, describe, expect, it } from 'vitest'
import { Tap } from '../../../../lib/backends/net/tap.js'
import {
  VIRTIO_CONFIG_S_NEEDS_RESET,
  VIRTIO_F_INDIRECT_DESC,
} from '../../../../lib/devices/virtio/abi.js'
import * as net from '../../../../lib/devices/virtio/net/abi.js'
import { nativeMemory } from '../../../helpers/guest-memories.js'
import { arpRequest, isArpReplyFrom, NetRig } from '../../../helpers/net-driver.js'
import { noTapReason, TapInterface } from '../../../helpers/tap-interface.js'
import { type Segment, turns, until } from '../../../helpers/virtio-driver.js'

const reason = noTapReason()
if (reason !== undefined) console.log(`virtio-net is not tested against hostile guests: ${reason}`)

const RAM = 0x200000
const GUEST_MAC = '52:54:00:12:34:57'
const OFFLOADS = [
  net.VIRTIO_NET_F_CSUM,
  net.VIRTIO_NET_F_HOST_TSO4,
  net.VIRTIO_NET_F_GUEST_CSUM,
  net.VIRTIO_NET_F_MRG_RXBUF,
]

describe.skipIf(reason !== undefined)('virtio-net and a hostile guest', () => {
  let host: TapInterface
  let rig: NetRig
  let guestAddress: string

  async function start(features: number[] = [], size = 64): Promise<void> {
    host = new TapInterface()
    guestAddress = host.network.guest
    const tap = new Tap(host.name, { mac: GUEST_MAC })
    await tap.open()
    await until(() => host.running, 'a running interface')
    rig = new NetRig(tap, nativeMemory([0, RAM]))
    rig.driver.start([VIRTIO_F_INDIRECT_DESC, ...features], size)
  }

  async function expectAlive(): Promise<void> {
    rig.buffers(8, 1526, 0x100000)
    rig.send(arpRequest(GUEST_MAC, guestAddress, host.network.host))
    await rig.receive(isArpReplyFrom(host.network.host))
  }

  afterEach(async () => {
    await expectAlive()
    expect((rig.memory as ReturnType<typeof nativeMemory>).canariesIntact()).toBe(true)
    expect(rig.errors).toEqual([])
    expect(rig.driver.status & VIRTIO_CONFIG_S_NEEDS_RESET).toBe(0)
    await rig.close()
    host.remove()
  })

  /** Sends a chain, and expects it back, dropped or not. */
  function transmit(segments: Segment[], dropped: boolean): void {
    const { txDropped, txFrames } = rig.device.counters
    rig.tx.add(segments)
    rig.driver.kick(1)
    expect(rig.tx.used()).toHaveLength(1)
    expect(rig.device.counters.txDropped - txDropped).toBe(dropped ? 1 : 0)
    expect(rig.device.counters.txFrames - txFrames).toBe(dropped ? 0 : 1)
  }

  it.each<[string, Segment[]]>([
    ['shorter than the header', [{ address: 0x60000, length: 11 }]],
    ['of a header alone', [{ address: 0x60000, length: 12 }]],
    [
      'with an empty frame in a second descriptor',
      [
        { address: 0x60000, length: 12 },
        { address: 0x61000, length: 0 },
      ],
    ],
    ['of nothing', [{ address: 0x60000, length: 0 }]],
    ['of 65,562 bytes', [{ address: 0x60000, length: 65_562 }]],
    ['of 128 KiB', [{ address: 0x60000, length: 131_072 }]],
    ['that claims 1 GiB', [{ address: 0x60000, length: 2 ** 30 }]],
    ['that claims 4 GiB', [{ address: 0x60000, length: 0xffff_ffff }]],
    ['outside memory', [{ address: RAM, length: 100 }]],
    ['that runs a byte past the end of memory', [{ address: RAM - 99, length: 100 }]],
    ['at 2^64 - 100', [{ address: 2n ** 64n - 100n, length: 100 }]],
    [
      'whose header lies outside memory',
      [
        { address: 2 ** 40, length: 12 },
        { address: 0x60000, length: 60 },
      ],
    ],
    ['that is writable', [{ address: 0x60000, length: 100, writable: true }]],
  ])('drops a frame %s', async (_name, segments) => {
    await start()
    transmit(segments, true)
  })

  it('sends a frame in one-byte descriptors', async () => {
    await start([], 256)
    rig.buffers(4)
    const frame = arpRequest(GUEST_MAC, guestAddress, host.network.host)
    rig.memory.fill(0x60000, 12)
    rig.memory.write(0x6000c, frame)
    transmit(
      Array.from({ length: 12 + frame.length }, (_, i) => ({ address: 0x60000 + i, length: 1 })),
      false,
    )
    await rig.receive(isArpReplyFrom(host.network.host))
  })

  it('ignores the header where no offload was negotiated', async () => {
    await start()
    for (let seed = 1; seed < 200; seed++) {
      const header = Uint8Array.from({ length: 12 }, (_, i) => (seed * 2654435761 * (i + 7)) >>> 13)
      rig.send(arpRequest(GUEST_MAC, guestAddress, host.network.host), header)
      rig.tx.used()
    }
    expect(rig.device.counters.txDropped).toBe(0)
    expect(rig.device.counters.txFrames).toBe(199)
  })

  it('takes any header where offloads were negotiated, and sends or drops', async () => {
    await start(OFFLOADS)
    for (let seed = 1; seed < 500; seed++) {
      const header = Uint8Array.from({ length: 12 }, (_, i) => (seed * 2654435761 * (i + 3)) >>> 11)
      rig.send(arpRequest(GUEST_MAC, guestAddress, host.network.host), header)
      rig.tx.used()
    }
    expect(rig.device.counters.txDropped + rig.device.counters.txFrames).toBe(499)
  })

  it.each<[string, number[]]>([
    ['a checksum that starts past the frame', [1, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0]],
    ['a checksum whose place lies past the frame', [1, 0, 0, 0, 0, 0, 14, 0, 0xff, 0xff, 0, 0]],
    ['a checksum whose second byte lies past the frame', [1, 0, 0, 0, 0, 0, 41, 0, 0, 0, 0, 0]],
    ['a segmentation that was not negotiated', [1, 4, 54, 0, 100, 0, 14, 0, 6, 0, 0, 0]],
    ['a segmentation of an unknown type', [1, 9, 54, 0, 100, 0, 14, 0, 6, 0, 0, 0]],
    ['a segmentation into nothing', [1, 1, 54, 0, 0, 0, 14, 0, 6, 0, 0, 0]],
  ])('drops a frame with %s', async (_name, header) => {
    await start(OFFLOADS)
    rig.memory.write(0x60000, Uint8Array.from(header))
    rig.memory.write(0x6000c, arpRequest(GUEST_MAC, guestAddress, host.network.host))
    transmit([{ address: 0x60000, length: 12 + 42 }], true)
  })

  it.each<[string, Segment[]]>([
    ['is read-only', [{ address: 0x80000, length: 1526 }]],
    ['has one byte', [{ address: 0x80000, length: 1, writable: true }]],
    ['has room for the header alone', [{ address: 0x80000, length: 12, writable: true }]],
    ['lies outside memory', [{ address: RAM, length: 1526, writable: true }]],
    ['runs past the end of memory', [{ address: RAM - 1525, length: 1526, writable: true }]],
    ['claims 4 GiB', [{ address: 0x80000, length: 0xffff_ffff, writable: true }]],
    ['is nothing', [{ address: 0x80000, length: 0 }]],
  ])('gives a receive buffer back that %s', async (_name, segments) => {
    await start()
    const tail = rig.memory.read(RAM - 2048, 2048)
    rig.rx.add(segments)
    rig.driver.kick(0)
    rig.send(arpRequest(GUEST_MAC, guestAddress, host.network.host))
    await turns(5)
    expect(rig.rx.used().map(({ length }) => length)).toEqual([0])
    expect(rig.device.counters.rxDropped).toBe(1)
    expect(rig.memory.read(RAM - 2048, 2048)).toEqual(tail)
  })

  it('is flooded with bad receive buffers without end', async () => {
    await start()
    for (let round = 0; round < 200; round++) {
      for (let i = 0; i < 64; i++) rig.rx.add([{ address: RAM, length: 1526, writable: true }])
      rig.driver.kick(0)
      expect(rig.rx.used()).toHaveLength(64)
    }
    expect(rig.device.counters.rxDropped).toBe(200 * 64)
  })

  it('receives into the rings themselves', async () => {
    await start()
    const { descriptorArea } = rig.tx
    rig.buffer(descriptorArea, 1024)
    rig.driver.kick(0)
    rig.send(arpRequest(GUEST_MAC, guestAddress, host.network.host))
    await turns(10)
    rig.driver.start([VIRTIO_F_INDIRECT_DESC], 64)
  })

  it('resets while frames arrive: nothing is written after', async () => {
    await start()
    for (let round = 0; round < 20; round++) {
      rig.buffers(16)
      for (let i = 0; i < 8; i++) rig.send(arpRequest(GUEST_MAC, guestAddress, host.network.host))
      rig.driver.status = 0
      expect(rig.driver.status).toBe(0)
      rig.memory.fill(0x80000, 0x10000, 0x5a)
      await turns(3)
      expect(rig.memory.read(0x80000, 0x10000).every((byte) => byte === 0x5a)).toBe(true)
      rig.driver.start([VIRTIO_F_INDIRECT_DESC], 64)
    }
  })
})
