import { expect } from 'vitest'
import { VIRTIO_F_INDIRECT_DESC, VIRTIO_F_VERSION_1 } from '../../../lib/devices/virtio/abi.js'
import {
  VIRTIO_NET_F_CTRL_VQ,
  VIRTIO_NET_F_MRG_RXBUF,
} from '../../../lib/devices/virtio/net/abi.js'
import type { Bench } from '../bench.js'
import { type Buffer, Device } from '../device.js'
import { DATA, HEADERS, RINGS, type Ring, STATUSES, TABLE } from '../ring.js'
import { MEMORY } from '../script-guest.js'
import type { Case } from './case.js'

const FEATURES = [
  VIRTIO_F_VERSION_1,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_NET_F_MRG_RXBUF,
  VIRTIO_NET_F_CTRL_VQ,
]
const HEADER = 12
const RX = 0
const TX = 1
const CONTROL = 2

async function startCard(bench: Bench): Promise<{ net: Device; rings: Ring[] }> {
  const net = new Device(bench, 'net')
  return { net, rings: await net.start(FEATURES, 3, 64) }
}

/** A good frame, which leaves: after whatever it was, the card sends. */
async function expectSends(bench: Bench, net: Device, ring: Ring): Promise<void> {
  const before = bench.frames.length
  bench.memory.fill(DATA, HEADER)
  bench.memory.fill(DATA + HEADER, 60, 0xff)
  await bench.run(net.submit(ring, [{ address: DATA, length: HEADER + 60 }]))
  await net.waitUsed(ring)
  expect(bench.frames.length).toBe(before + 1)
  expect(bench.frames.at(-1)).toEqual(new Uint8Array(60).fill(0xff))
  await net.expectRunning()
  await net.reset()
}

function droppedFrame(
  id: string,
  title: string,
  buffers: readonly Buffer[],
  header: readonly number[] = [],
): Case {
  return {
    id,
    title,
    play: async (bench) => {
      const { net, rings } = await startCard(bench)
      bench.memory.fill(DATA, 0x2_0000)
      bench.memory.write(DATA, Uint8Array.from(header))
      await bench.run(net.submit(rings[TX]!, buffers))
      await net.waitUsed(rings[TX]!)
      expect(bench.frames).toEqual([])
      await expectSends(bench, net, rings[TX]!)
    },
  }
}

/** A receive buffer that can take nothing; frames come and are lost, and the card goes on. */
function uselessBuffer(title: string, buffers: readonly Buffer[]): Case {
  return {
    id: 'NET-07',
    title,
    play: async (bench) => {
      const { net, rings } = await startCard(bench)
      await bench.run(net.submit(rings[RX]!, buffers))
      await expectSends(bench, net, rings[TX]!)
    },
  }
}

function command(title: string, bytes: readonly number[]): Case {
  return {
    id: 'NET-10',
    title,
    play: async (bench) => {
      const { net, rings } = await startCard(bench)
      bench.memory.fill(HEADERS, 64)
      bench.memory.write(HEADERS, Uint8Array.from(bytes))
      bench.memory.fill(STATUSES, 1, 0xee)
      await bench.run(
        net.submit(rings[CONTROL]!, [
          { address: HEADERS, length: bytes.length },
          { address: STATUSES, length: 1, write: true },
        ]),
      )
      await net.waitUsed(rings[CONTROL]!)
      expect(bench.memory.read(STATUSES, 1)[0]).toBe(1)
      await expectSends(bench, net, rings[TX]!)
    },
  }
}

const pieces = (count: number): Buffer[] =>
  Array.from({ length: count }, (_, i) => ({ address: DATA + i, length: 1 }))

export const net: readonly Case[] = [
  droppedFrame('NET-01', 'a frame shorter than its header', [{ address: DATA, length: 11 }]),
  droppedFrame('NET-01', 'a header and no frame', [{ address: DATA, length: HEADER }]),
  droppedFrame('NET-01', 'nothing', [{ address: DATA, length: 0 }]),
  droppedFrame('NET-02', 'a frame longer than any', [{ address: DATA, length: HEADER + 65_550 }]),
  droppedFrame('NET-02', 'a frame that claims 1 GiB', [{ address: DATA, length: 2 ** 30 }]),
  droppedFrame('NET-02', 'a frame that claims 2^32 - 1 bytes', [
    { address: DATA, length: 2 ** 32 - 1 },
  ]),
  {
    id: 'NET-03',
    title: 'a frame in one-byte descriptors',
    play: async (bench) => {
      const { net, rings } = await startCard(bench)
      bench.memory.fill(DATA, HEADER)
      bench.memory.fill(DATA + HEADER, 60, 0xff)
      await bench.run(net.submit(rings[TX]!, pieces(64)))
      await net.waitUsed(rings[TX]!)
      await expectSends(bench, net, rings[TX]!)
    },
  },
  ...[
    [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    [1, 0, 0, 0, 0, 0, 0xff, 0xff, 2, 0, 0, 0],
    [1, 1, 0xff, 0xff, 1, 0, 0, 0, 0xff, 0xff, 0, 0],
  ].map(
    (header, i): Case => ({
      id: i === 1 ? 'NET-05' : 'NET-04',
      title: `a header of ${header.join(' ')}, with no offload negotiated`,
      play: async (bench) => {
        const { net, rings } = await startCard(bench)
        bench.memory.fill(DATA, 256, 0x55)
        bench.memory.write(DATA, Uint8Array.from(header))
        const before = bench.memory.read(DATA, 256)
        await bench.run(net.submit(rings[TX]!, [{ address: DATA, length: HEADER + 60 }]))
        await net.waitUsed(rings[TX]!)
        expect(bench.memory.read(DATA, 256)).toEqual(before)
        expect(bench.frames.every((frame) => frame.length === 60)).toBe(true)
        await expectSends(bench, net, rings[TX]!)
      },
    }),
  ),
  {
    id: 'NET-06',
    title: 'features of other headers, which were not offered',
    play: async (bench) => {
      const net = new Device(bench, 'net')
      await net.negotiate([VIRTIO_F_VERSION_1, 57])
      expect((await net.status()) & 8).toBe(0)
      await net.reset()
    },
  },
  uselessBuffer('a receive buffer that is read-only', [{ address: DATA, length: 2048 }]),
  uselessBuffer('a receive buffer of a byte', [{ address: DATA, length: 1, write: true }]),
  uselessBuffer('a receive buffer outside memory', [
    { address: MEMORY, length: 2048, write: true },
  ]),
  uselessBuffer('a receive buffer of nothing', [{ address: DATA, length: 0, write: true }]),
  {
    id: 'NET-08',
    title: 'receive buffers that are the rings themselves',
    play: async (bench) => {
      const { net, rings } = await startCard(bench)
      await bench.run(net.submit(rings[RX]!, [{ address: RINGS, length: 0x8000, write: true }]))
      await expectSends(bench, net, rings[TX]!)
    },
  },
  {
    id: 'NET-09',
    title: 'frames of any source and type by the hundred',
    play: async (bench) => {
      const { net, rings } = await startCard(bench)
      bench.memory.fill(DATA, HEADER)
      for (let i = 0; i < 100; i++) {
        bench.memory.fill(DATA + HEADER, 64, i * 37)
        await bench.run(net.submit(rings[TX]!, [{ address: DATA, length: HEADER + 14 + (i % 50) }]))
        await net.waitUsed(rings[TX]!)
      }
      bench.frames.length = 0
      await expectSends(bench, net, rings[TX]!)
    },
  },
  command('a command of no class', [0xff, 0]),
  command('a command of no kind', [1, 0xff, 0]),
  command('a table of 2^32 - 1 addresses', [1, 0, 0xff, 0xff, 0xff, 0xff]),
  command('no queue pairs', [4, 0, 0, 0]),
  command('0x8001 queue pairs', [4, 0, 1, 0x80]),
  {
    id: 'NET-10',
    title: 'a command that claims 4 GiB',
    play: async (bench) => {
      const { net, rings } = await startCard(bench)
      await bench.run(
        net.submit(rings[CONTROL]!, [
          { address: TABLE, length: 0xffff_fff0 },
          { address: STATUSES, length: 1, write: true },
        ]),
      )
      await net.waitUsed(rings[CONTROL]!)
      await expectSends(bench, net, rings[TX]!)
    },
  },
]
