import { expect } from 'vitest'
import { BOOT_PAGE_TABLES_START, VIRTIO_MMIO_START } from '../../../lib/arch/x86-64/layout.js'
import * as mmio from '../../../lib/devices/virtio/transport/virtio-mmio.js'
import { windowOf } from '../bench.js'
import { Disk } from '../block.js'
import { Device } from '../device.js'
import { DATA, RINGS, Ring, script } from '../ring.js'
import { CODE, MEMORY } from '../script-guest.js'
import type { Case } from './case.js'

const HOLE = 0xc800_0000
const [AVAIL, USED] = [RINGS + 0x4000, RINGS + 0x8000]

/** Rings that no device can take. */
function refused(id: string, title: string, ring: Ring): Case {
  return {
    id,
    title,
    play: async (bench) => {
      const disk = new Disk(bench)
      await disk.negotiate()
      await bench.run(script(disk.place(ring), disk.driverOk()))
      await disk.expectNeedsReset()
    },
  }
}

export const ringGeometry: readonly Case[] = [
  {
    id: 'RING-01',
    title: 'a queue of size 0 does not get ready, and DRIVER_OK without one needs a reset',
    play: async (bench) => {
      const disk = new Disk(bench)
      await disk.negotiate()
      await bench.run(disk.place(new Ring(0, 0)))
      expect(await disk.read(mmio.VIRTIO_MMIO_QUEUE_READY)).toBe(0)
      await bench.run(disk.driverOk())
      await disk.expectNeedsReset()
    },
  },
  refused('RING-02', 'a queue of 3', new Ring(0, 3)),
  refused('RING-02', 'a queue of 257', new Ring(0, 257)),
  refused('RING-03', 'a queue of 32768', new Ring(0, 32768)),
  {
    id: 'RING-04',
    title: 'the size of a queue stays what it was at DRIVER_OK',
    play: async (bench) => {
      const disk = new Disk(bench)
      const [ring] = await disk.start()
      for (const size of [32768, 0, 3]) {
        await bench.run(
          script(disk.set(mmio.VIRTIO_MMIO_QUEUE_READY, 0), disk.place(new Ring(0, size))),
        )
        for (let i = 0; i < 20; i++) {
          const into = [{ address: DATA, length: 512, write: true }]
          expect(await disk.request(ring!, 0, 0, into)).toBe(0)
        }
      }
      await disk.expectRunning()
    },
  },
  {
    id: 'RING-05',
    title: 'a queue stays where it was at DRIVER_OK',
    play: async (bench) => {
      const disk = new Disk(bench)
      const [ring] = await disk.start()
      bench.memory.fill(DATA + 0x1_0000, 0x3000, 0xa5)
      const moved = [0, 0x1000, 0x2000].map((offset) => DATA + 0x1_0000 + offset)
      await bench.run(disk.place(new Ring(0, 16, ...moved)))
      expect(await disk.request(ring!, 0, 0, [{ address: DATA, length: 512, write: true }])).toBe(0)
      expect(bench.memory.read(DATA + 0x1_0000, 0x3000).every((byte) => byte === 0xa5)).toBe(true)
      await disk.expectRunning()
    },
  },
  refused('RING-06', 'a descriptor table that is not aligned to 16', new Ring(0, 16, RINGS + 8)),
  refused(
    'RING-06',
    'an available ring that is not aligned to 2',
    new Ring(0, 16, RINGS, AVAIL + 1),
  ),
  refused(
    'RING-06',
    'a used ring that is not aligned to 4',
    new Ring(0, 16, RINGS, AVAIL, USED + 2),
  ),
  refused(
    'RING-07',
    'a descriptor table partly past the end of memory',
    new Ring(0, 16, MEMORY - 16),
  ),
  refused('RING-07', 'an available ring partly past it', new Ring(0, 16, RINGS, MEMORY - 2)),
  refused('RING-07', 'a used ring partly past it', new Ring(0, 16, RINGS, AVAIL, MEMORY - 8)),
  refused('RING-08', 'an available ring that wraps 2^64', new Ring(0, 16, RINGS, 2n ** 64n - 2n)),
  refused('RING-08', 'a used ring that wraps 2^64', new Ring(0, 16, RINGS, AVAIL, 2n ** 64n - 4n)),
  refused('RING-09', 'a descriptor table in the hole', new Ring(0, 16, HOLE)),
  refused(
    'RING-09',
    "an available ring over a device's registers",
    new Ring(0, 16, RINGS, windowOf('net')),
  ),
  refused(
    'RING-09',
    'a used ring over its own registers',
    new Ring(0, 16, RINGS, AVAIL, VIRTIO_MMIO_START),
  ),
  refused('RING-10', 'all parts in one place', new Ring(0, 16, RINGS, RINGS, RINGS)),
  refused(
    'RING-10',
    'a used ring over the available ring',
    new Ring(0, 16, RINGS, AVAIL, AVAIL + 4),
  ),
  {
    id: 'RING-11',
    title: 'two queues of one device in one ring',
    play: async (bench) => {
      const net = new Device(bench, 'net')
      await net.negotiate()
      const shared = [new Ring(0, 16), new Ring(1, 16, RINGS, AVAIL, USED)]
      await bench.run(script(...shared.map((ring) => net.place(ring)), net.driverOk()))
      await net.expectNeedsReset()
      await net.reset()
    },
  },
  {
    id: 'RING-11',
    title: 'two devices in one ring',
    play: async (bench) => {
      const [disk, other] = [new Disk(bench), new Disk(bench, 'readOnly')]
      const [ring] = await disk.start()
      await other.negotiate()
      await bench.run(script(other.place(ring!), other.driverOk()))
      const into = [{ address: DATA, length: 512, write: true }]
      for (let i = 0; i < 20; i++) {
        await bench.run(script(disk.header(0, 0), disk.submit(ring!, into), other.kick()))
      }
      await other.reset()
      await disk.reset()
    },
  },
  {
    id: 'RING-12',
    title: 'a used ring over page tables and code that the guest does without',
    play: async (bench) => {
      // Of the page tables the last directory but one, of the code what lies behind it.
      for (const place of [BOOT_PAGE_TABLES_START + 0x4000, CODE + 0x8000]) {
        const disk = new Disk(bench)
        await disk.negotiate()
        const ring = new Ring(0, 16, RINGS, AVAIL, place)
        const saved = bench.memory.read(place, 0x200)
        bench.memory.fill(RINGS, 0x1_0000)
        bench.memory.fill(place, 0x200)
        await bench.run(script(disk.place(ring), disk.driverOk()))
        expect(await disk.request(ring, 0, 0, [{ address: DATA, length: 512, write: true }])).toBe(
          0,
        )
        await disk.reset()
        bench.memory.write(place, saved)
      }
    },
  },
]
