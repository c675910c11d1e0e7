import { expect } from 'vitest'
import {
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_VERSION_1,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
} from '../../../lib/devices/virtio/abi.js'
import { turns } from '../../helpers/virtio-driver.js'
import type { Bench } from '../bench.js'
import { Disk } from '../block.js'
import { DATA, descriptorAt, HEADERS, Ring, STATUSES, script, TABLE } from '../ring.js'
import { Script } from '../script.js'
import { MEMORY } from '../script-guest.js'
import type { Case } from './case.js'

const NEXT = VIRTQ_DESC_F_NEXT
const WRITE = VIRTQ_DESC_F_WRITE
const INDIRECT = VIRTQ_DESC_F_INDIRECT
const SIZE = 16
const [OK, IOERR, UNTOUCHED] = [0, 1, 0xee]

/** What a driver writes to a ring of 16 before it kicks. */
type Break = (ring: Ring, disk: Disk) => Script

/** A ring that a device cannot go on from. */
function broken(id: string, title: string, write: Break, features?: readonly number[]): Case {
  return {
    id,
    title,
    play: async (bench) => {
      const disk = new Disk(bench)
      const [ring] = await disk.start(features)
      await bench.run(script(write(ring!, disk), disk.kick()))
      await disk.expectNeedsReset(ring)
    },
  }
}

/** A read of which one part is strange; a status, and a device that goes on. */
function answered(
  id: string,
  title: string,
  expected: number,
  write: (ring: Ring, disk: Disk) => Script,
): Case {
  return {
    id,
    title,
    play: async (bench) => {
      const disk = new Disk(bench)
      const [ring] = await disk.start()
      const tail = bench.memory.read(MEMORY - 512, 512)
      const before = script(disk.header(0, 0), new Script().store(STATUSES, 1, UNTOUCHED))
      await bench.run(script(before, write(ring!, disk), disk.kick()))
      await disk.waitUsed(ring!)
      expect(bench.memory.read(STATUSES, 1)[0]).toBe(expected)
      expect(bench.memory.read(MEMORY - 512, 512)).toEqual(tail)
      await disk.expectRunning()
    },
  }
}

const status = (ring: Ring, index: number) => ring.descriptor(index, STATUSES, 1, WRITE)
/** A read of a sector to what `data` says. */
const readInto =
  (address: number | bigint, length: number): Break =>
  (ring) =>
    script(
      ring.descriptor(0, HEADERS, 16, NEXT, 1),
      ring.descriptor(1, address, length, NEXT | WRITE, 2),
      status(ring, 2),
      ring.offer(0),
    )
const loopOf =
  (length: number, bytes = 16): Break =>
  (ring) =>
    script(
      ...Array.from({ length }, (_, i) => ring.descriptor(i, DATA, bytes, NEXT, (i + 1) % length)),
      ring.offer(0),
    )
const indirect =
  (address: number | bigint, bytes: number, flags = 0): Break =>
  (ring) =>
    script(
      descriptorAt(TABLE, HEADERS, 16, NEXT, 1),
      descriptorAt(TABLE + 16, DATA, 512, NEXT | WRITE, 2),
      descriptorAt(TABLE + 32, STATUSES, 1, WRITE),
      ring.descriptor(0, address, bytes, INDIRECT | flags, 1),
      ring.offer(0),
    )

async function flood(bench: Bench, rounds: number, write: (ring: Ring, round: number) => Script) {
  const disk = new Disk(bench)
  const [ring] = await disk.start([VIRTIO_F_VERSION_1, VIRTIO_F_EVENT_IDX])
  for (let i = 0; i < rounds; i++) {
    await bench.run(script(write(ring!, i), disk.kick()))
    // Each round offers the same chain, which is not to be offered again before it is used.
    await disk.waitUsed(ring!)
  }
  return { disk, ring: ring! }
}

export const ringWalk: readonly Case[] = [
  ...[SIZE + 1, 1000, 0xffff].map((by) =>
    broken('RING-13', `an available index that jumps by ${by}`, (ring) =>
      new Script().store(Number(ring.driverArea) + 2, 2, by),
    ),
  ),
  ...[SIZE, 0xffff].map((head) =>
    broken('RING-15', `a head of ${head} in a queue of ${SIZE}`, (ring) => ring.offer(head)),
  ),
  {
    id: 'RING-16',
    title: 'one head offered twice at once is served, or needs a reset',
    play: async (bench) => {
      const disk = new Disk(bench)
      const [ring] = await disk.start()
      await bench.run(
        script(disk.header(0, 0), readInto(DATA, 512)(ring!, disk), ring!.offer(0), disk.kick()),
      )
      for (let i = 0; i < 50 && disk.used(ring!) < 2; i++) await turns()
      expect(disk.used(ring!)).toBeLessThanOrEqual(2)
      if (disk.used(ring!) < 2) await disk.expectNeedsReset(ring)
    },
  },
  broken('RING-17', 'a descriptor that points at itself', loopOf(1)),
  ...[2, 7, SIZE].map((length) => broken('RING-18', `a loop of ${length}`, loopOf(length))),
  broken('RING-18', 'a loop of empty descriptors', loopOf(3, 0)),
  ...[SIZE, 0xffff].map((next) =>
    broken('RING-19', `a next of ${next}`, (ring) =>
      script(ring.descriptor(0, HEADERS, 16, NEXT, next), ring.offer(0)),
    ),
  ),
  answered('RING-20', 'a chain as long as the queue', OK, (ring) =>
    script(
      ring.descriptor(0, HEADERS, 16, NEXT, 1),
      ...Array.from({ length: SIZE - 2 }, (_, i) =>
        ring.descriptor(i + 1, DATA + 512 * i, 512, NEXT | WRITE, i + 2),
      ),
      status(ring, SIZE - 1),
      ring.offer(0),
    ),
  ),
  broken('RING-21', 'a chain of more than 2^32 bytes', (ring) =>
    script(
      ...Array.from({ length: 5 }, (_, i) =>
        ring.descriptor(i, 0, 0x4000_0000, i < 4 ? NEXT : 0, i + 1),
      ),
      ring.offer(0),
    ),
  ),
  answered('RING-22', 'empty descriptors among others are left out', OK, (ring) =>
    script(
      ring.descriptor(0, HEADERS, 16, NEXT, 1),
      ring.descriptor(1, DATA, 0, NEXT | WRITE, 2),
      ring.descriptor(2, DATA, 512, NEXT | WRITE, 3),
      ring.descriptor(3, STATUSES, 1, NEXT | WRITE, 4),
      ring.descriptor(4, DATA, 0, WRITE),
      ring.offer(0),
    ),
  ),
  answered('RING-22', 'a chain of nothing comes back', UNTOUCHED, (ring) =>
    script(ring.descriptor(0, DATA, 0), ring.offer(0)),
  ),
  answered('RING-23', 'data of 2^32 - 512 bytes', IOERR, readInto(DATA, 0xffff_fe00)),
  answered('RING-24', 'data that wraps 2^64', IOERR, readInto(2n ** 64n - 256n, 512)),
  answered('RING-25', 'data that ends a byte past memory', IOERR, readInto(MEMORY - 511, 512)),
  answered('RING-26', 'data in the hole', IOERR, readInto(0xc800_0000, 512)),
  answered('RING-26', "data over a device's registers", IOERR, readInto(0xd000_0000, 512)),
  broken('RING-27', 'a readable descriptor after a writable one', (ring) =>
    script(
      ring.descriptor(0, DATA, 16, NEXT | WRITE, 1),
      ring.descriptor(1, HEADERS, 16),
      ring.offer(0),
    ),
  ),
  answered('RING-28', 'a header that is writable', UNTOUCHED, (ring) =>
    script(ring.descriptor(0, HEADERS, 16, NEXT | WRITE, 1), status(ring, 1), ring.offer(0)),
  ),
  answered('RING-29', 'unknown flag bits', OK, (ring) =>
    script(
      ring.descriptor(0, HEADERS, 16, 0xfff8 | NEXT, 1),
      ring.descriptor(1, DATA, 512, 0xfff8 | NEXT | WRITE, 2),
      ring.descriptor(2, STATUSES, 1, 0xfff8 | WRITE),
      ring.offer(0),
    ),
  ),
  broken('RING-30', 'an indirect descriptor without the feature', indirect(TABLE, 48), [
    VIRTIO_F_VERSION_1,
  ]),
  broken('RING-31', 'an indirect descriptor with NEXT', indirect(TABLE, 48, NEXT)),
  answered('RING-31', 'an indirect descriptor after a direct one', OK, (ring) =>
    script(
      indirect(TABLE + 16, 32)(new Ring(1, SIZE), new Disk({} as Bench)),
      descriptorAt(TABLE + 16, DATA, 512, NEXT | WRITE, 1),
      ring.descriptor(4, HEADERS, 16, NEXT, 5),
      ring.descriptor(5, TABLE + 16, 32, INDIRECT),
      ring.offer(4),
    ),
  ),
  broken('RING-32', 'an indirect descriptor inside an indirect table', (ring, disk) =>
    script(indirect(TABLE, 48)(ring, disk), descriptorAt(TABLE + 16, TABLE, 16, INDIRECT)),
  ),
  ...[0, 8, 17, 0xffff_ffff].map((bytes) =>
    broken('RING-33', `an indirect table of ${bytes} bytes`, indirect(TABLE, bytes)),
  ),
  broken('RING-34', 'an indirect table outside memory', indirect(0xc800_0000, 48)),
  broken('RING-34', 'an indirect table partly outside memory', indirect(MEMORY - 16, 48)),
  broken('RING-34', 'an indirect table that wraps 2^64', indirect(2n ** 64n - 16n, 48)),
  answered('RING-35', 'an indirect descriptor with WRITE', OK, indirect(TABLE, 48, WRITE)),
  {
    id: 'RING-36',
    form: 'exits',
    title: 'descriptors that the guest changes while the device reads them',
    play: async (bench) => {
      const counter = HEADERS + 0x100
      for (let round = 0; round < 5; round++) {
        const disk = new Disk(bench)
        const [ring] = await disk.start()
        const tail = bench.memory.read(MEMORY - 512, 512)
        const flips = Array.from({ length: 200 }, (_, i) =>
          i % 2 === 0
            ? ring!.descriptor(
                1,
                [MEMORY - 1, 2n ** 64n - 16n][round % 2]!,
                0xffff_ffff,
                NEXT,
                round,
              )
            : ring!.descriptor(1, DATA, 512, NEXT | WRITE, 2),
        )
        bench.memory.dataView(counter, 4).setUint32(0, 100, true)
        await bench.run(
          script(
            readInto(DATA, 512)(ring!, disk),
            new Script().store(Number(ring!.driverArea) + 4, 8, 0),
            disk.kick(),
            ...flips,
            new Script().loop(counter),
          ),
        )
        expect(bench.memory.read(MEMORY - 512, 512)).toEqual(tail)
        await disk.reset()
      }
    },
  },
  {
    id: 'RING-37',
    title: 'the used ring written over by the driver is not read back',
    play: async (bench) => {
      const disk = new Disk(bench)
      const [ring] = await disk.start()
      for (let i = 1; i <= 40; i++) {
        await bench.run(
          script(
            new Script().store(Number(ring!.deviceArea), 8, 0x5555_5555_5555_5555n),
            disk.header(0, 0),
            readInto(DATA, 512)(ring!, disk),
            disk.kick(),
          ),
        )
        await disk.waitUsed(ring!)
      }
      await disk.expectRunning()
    },
  },
  {
    id: 'RING-38',
    title: 'used_event at random costs interrupts at worst',
    play: async (bench) => {
      const { disk, ring } = await flood(bench, 200, (ring, i) =>
        script(
          new Script().store(HEADERS, 8, 0).store(HEADERS + 8, 8, 0),
          new Script().store(Number(ring.driverArea) + 4 + 2 * SIZE, 2, (i * 40503) & 0xffff),
          readInto(DATA, 512)(ring, new Disk(bench)),
        ),
      )
      await disk.waitUsed(ring)
      await disk.expectRunning()
    },
  },
  {
    id: 'RING-39',
    title: 'kicks of an empty queue by the ten thousand do nothing',
    play: async (bench) => {
      const { disk, ring } = await flood(bench, 10, () =>
        script(...Array.from({ length: 1000 }, () => new Disk(bench).kick())),
      )
      expect(disk.used(ring)).toBe(0)
      await disk.expectRunning()
    },
  },
  {
    id: 'RING-40',
    title: 'kicks of queues that are not there do nothing',
    play: async (bench) => {
      const { disk } = await flood(bench, 1, () =>
        script(
          ...[1, 2, 0xffff, 0x8000_0000, 0xffff_ffff].map((queue) => new Disk(bench).kick(queue)),
        ),
      )
      await disk.expectRunning()
    },
  },
  {
    id: 'RING-41',
    title: 'a driver that never looks at the used ring has no more in flight than the queue holds',
    play: async (bench) => {
      const disk = new Disk(bench)
      const [ring] = await disk.start()
      await bench.run(disk.header(0, 0))
      for (let i = 0; i < 64; i++) {
        await bench.run(script(readInto(DATA, 512)(ring!, disk), disk.kick()))
        await disk.waitUsed(ring!)
      }
      await disk.expectRunning()
    },
  },
]
