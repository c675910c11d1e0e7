import { expect } from 'vitest'
import { VIRTIO_F_INDIRECT_DESC, VIRTIO_F_VERSION_1 } from '../../../lib/devices/virtio/abi.js'
import { CONFIG_CAPACITY } from '../../../lib/devices/virtio/block/abi.js'
import * as mmio from '../../../lib/devices/virtio/transport/virtio-mmio.js'
import { type Bench, DISK_SIZE, SLOTS } from '../bench.js'
import { Disk } from '../block.js'
import { Device, DRIVER_OK } from '../device.js'
import { DATA, RINGS, type Ring, script } from '../ring.js'
import { Script } from '../script.js'
import type { Case } from './case.js'

const REGISTERS = Array.from({ length: 64 }, (_, i) => 4 * i)
const CONFIG = mmio.VIRTIO_MMIO_CONFIG
const WINDOW = mmio.VIRTIO_MMIO_WINDOW
const QUEUE_REGISTERS = [
  mmio.VIRTIO_MMIO_QUEUE_NUM,
  mmio.VIRTIO_MMIO_QUEUE_READY,
  mmio.VIRTIO_MMIO_QUEUE_DESC_LOW,
  mmio.VIRTIO_MMIO_QUEUE_DESC_HIGH,
  mmio.VIRTIO_MMIO_QUEUE_AVAIL_LOW,
  mmio.VIRTIO_MMIO_QUEUE_USED_LOW,
]

/** The device still answers a request on the queue that it had. */
async function expectAnswers(disk: Disk, ring: Ring): Promise<void> {
  expect(await disk.request(ring, 0, 0, [{ address: DATA, length: 512, write: true }])).toBe(0)
  await disk.expectRunning()
}

async function loads(bench: Bench, parts: readonly Script[]): Promise<number[]> {
  return (await bench.run(script(...parts))).map(Number)
}

/** FEATURES_OK after `features`, and whether it reads back. */
async function featuresOk(disk: Disk, features: readonly number[]): Promise<boolean> {
  await disk.negotiate(features)
  return ((await disk.status()) & 8) !== 0
}

export const transport: readonly Case[] = [
  {
    id: 'MMIO-01',
    title: 'control registers at other widths, or misaligned, read as ones and are not written',
    play: async (bench) => {
      const disk = new Disk(bench)
      const [ring] = await disk.start()
      for (const width of [1, 2] as const) {
        const ones = 2 ** (8 * width) - 1
        const read = await loads(
          bench,
          REGISTERS.map((at) => disk.get(at, width)),
        )
        expect(read.every((value) => value === ones)).toBe(true)
        await bench.run(script(...REGISTERS.map((at) => disk.set(at, 0, width))))
      }
      const wide = await bench.run(script(...REGISTERS.slice(0, 63).map((at) => disk.get(at, 8))))
      expect(wide.every((value) => value === 2n ** 64n - 1n)).toBe(true)
      await bench.run(script(...REGISTERS.slice(0, 63).map((at) => disk.set(at, 0, 8))))
      for (const by of [1, 2, 3]) {
        const odd = REGISTERS.slice(0, 63).map((at) => at + by)
        await loads(
          bench,
          odd.map((at) => disk.get(at)),
        )
        await bench.run(script(...odd.map((at) => disk.set(at, 0))))
      }
      expect(await disk.status()).toBe(DRIVER_OK)
      await expectAnswers(disk, ring!)
    },
  },
  {
    id: 'MMIO-02',
    title: 'an access across the end of the window, or behind it, reaches nobody',
    play: async (bench) => {
      const disk = new Disk(bench)
      const [ring] = await disk.start()
      const places = [WINDOW - 2, WINDOW - 1, WINDOW, 0xffc]
      expect(
        await loads(
          bench,
          places.map((at) => disk.get(at)),
        ),
      ).toEqual(Array(4).fill(0xffff_ffff))
      await bench.run(
        script(...places.map((at) => disk.set(at, 0)), disk.get(0xffe), disk.set(0xffe, 0)),
      )
      await expectAnswers(disk, ring!)
    },
  },
  {
    id: 'MMIO-03',
    title: 'registers that do not exist read as 0 and are not written',
    play: async (bench) => {
      const disk = new Disk(bench)
      const [ring] = await disk.start()
      const known = new Set<unknown>(Object.values(mmio))
      const others = REGISTERS.filter((at) => !known.has(at))
      expect(
        await loads(
          bench,
          others.map((at) => disk.get(at)),
        ),
      ).toEqual(others.map(() => 0))
      await bench.run(script(...others.map((at) => disk.set(at, 0xffff_ffff))))
      await expectAnswers(disk, ring!)
    },
  },
  {
    id: 'MMIO-04',
    title: 'registers of a queue that is not there read as 0 and are not written',
    play: async (bench) => {
      const disk = new Disk(bench)
      for (const select of [1, 0xffff, 0xffff_ffff]) {
        await disk.negotiate()
        await disk.write(mmio.VIRTIO_MMIO_QUEUE_SEL, select)
        await bench.run(script(...QUEUE_REGISTERS.map((at) => disk.set(at, 1))))
        const read = [...QUEUE_REGISTERS, mmio.VIRTIO_MMIO_QUEUE_NUM_MAX]
        expect(
          await loads(
            bench,
            read.map((at) => disk.get(at)),
          ),
        ).toEqual(read.map(() => 0))
      }
      await disk.expectRunning()
    },
  },
  {
    id: 'MMIO-05',
    title: 'of the 256 values of the status only the next legal step moves it',
    play: async (bench) => {
      const disk = new Disk(bench)
      for (const [from, next] of [
        [0, [1, 3]],
        [1, [3]],
        [3, [3]],
        [11, [15]],
      ] as const) {
        for (let value = 1; value < 256; value++) {
          if ((value & 0x80) !== 0 || next.some((step) => step === value)) continue
          const path = [1, 3, 11].filter((step) => step <= from)
          const steps = path.map((step) => disk.set(mmio.VIRTIO_MMIO_STATUS, step))
          const features = [1, 1].map((word) =>
            script(
              disk.set(mmio.VIRTIO_MMIO_DRIVER_FEATURES_SEL, word),
              disk.set(mmio.VIRTIO_MMIO_DRIVER_FEATURES, from === 3 ? 0 : 1),
            ),
          )
          const [status] = await loads(bench, [
            disk.set(mmio.VIRTIO_MMIO_STATUS, 0),
            ...steps.slice(0, 2),
            ...features,
            ...steps.slice(2),
            disk.set(mmio.VIRTIO_MMIO_STATUS, value),
            disk.get(mmio.VIRTIO_MMIO_STATUS),
          ])
          expect(status).toBe(from)
        }
      }
      await disk.expectRunning()
    },
  },
  {
    id: 'MMIO-06',
    title: 'bits of the status are not cleared one by one',
    play: async (bench) => {
      const disk = new Disk(bench)
      const [ring] = await disk.start()
      for (const value of [1, 3, 7, 11, 14]) {
        await disk.write(mmio.VIRTIO_MMIO_STATUS, value)
        expect(await disk.status()).toBe(DRIVER_OK)
      }
      await expectAnswers(disk, ring!)
    },
  },
  {
    id: 'MMIO-07',
    title: 'a feature that was not offered is refused',
    play: async (bench) => {
      const disk = new Disk(bench)
      for (const bit of [2, 7, 31, 33, 41, 50, 63]) {
        const features = [VIRTIO_F_VERSION_1, bit]
        const offered = await loads(bench, [
          disk.set(mmio.VIRTIO_MMIO_DEVICE_FEATURES_SEL, bit >> 5),
          disk.get(mmio.VIRTIO_MMIO_DEVICE_FEATURES),
        ])
        const isOffered = ((offered[0]! >>> (bit & 31)) & 1) === 1
        expect(await featuresOk(disk, features)).toBe(isOffered)
      }
      await disk.expectRunning()
    },
  },
  {
    id: 'MMIO-08',
    title: 'features without VERSION_1 are refused',
    play: async (bench) => {
      const disk = new Disk(bench)
      expect(await featuresOk(disk, [])).toBe(false)
      expect(await featuresOk(disk, [VIRTIO_F_INDIRECT_DESC])).toBe(false)
      await disk.expectRunning()
    },
  },
  {
    id: 'MMIO-09',
    title: 'features stay what they were at FEATURES_OK',
    play: async (bench) => {
      const disk = new Disk(bench)
      const [ring] = await disk.start([VIRTIO_F_VERSION_1])
      // Had it been taken, an indirect descriptor would be.
      await bench.run(
        script(
          disk.set(mmio.VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0),
          disk.set(mmio.VIRTIO_MMIO_DRIVER_FEATURES, 2 ** VIRTIO_F_INDIRECT_DESC),
          ring!.descriptor(0, DATA, 16, 4),
          ring!.offer(0),
          disk.kick(),
        ),
      )
      await disk.expectNeedsReset(ring)
    },
  },
  {
    id: 'MMIO-10',
    title: 'feature words past the second read as 0 and are not written',
    play: async (bench) => {
      const disk = new Disk(bench)
      await disk.reset()
      await bench.run(
        script(disk.set(mmio.VIRTIO_MMIO_STATUS, 1), disk.set(mmio.VIRTIO_MMIO_STATUS, 3)),
      )
      for (const select of [2, 3, 0x8000_0000, 0xffff_ffff]) {
        const [word] = await loads(bench, [
          disk.set(mmio.VIRTIO_MMIO_DEVICE_FEATURES_SEL, select),
          disk.set(mmio.VIRTIO_MMIO_DRIVER_FEATURES_SEL, select),
          disk.set(mmio.VIRTIO_MMIO_DRIVER_FEATURES, 0xffff_ffff),
          disk.get(mmio.VIRTIO_MMIO_DEVICE_FEATURES),
        ])
        expect(word).toBe(0)
      }
      await bench.run(
        script(
          disk.set(mmio.VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1),
          disk.set(mmio.VIRTIO_MMIO_DRIVER_FEATURES, 1),
          disk.set(mmio.VIRTIO_MMIO_STATUS, 11),
        ),
      )
      expect(await disk.status()).toBe(11)
    },
  },
  {
    id: 'MMIO-11',
    title: 'a reset with requests in flight: no byte of memory changes once the status reads as 0',
    play: async (bench) => {
      const disk = new Disk(bench)
      for (let round = 0; round < 10; round++) {
        const [ring] = await disk.start(undefined, 1, 256)
        const requests = Array.from({ length: 80 }, (_, i) =>
          script(
            ring!.descriptor(3 * i, DATA + 0x8_0000, 16, 1, 3 * i + 1),
            ring!.descriptor(3 * i + 1, DATA + 512 * i, 512, 3, 3 * i + 2),
            ring!.descriptor(3 * i + 2, DATA + 0x9_0000 + i, 1, 2),
            ring!.offer(3 * i),
          ),
        )
        bench.memory.fill(DATA + 0x8_0000, 16)
        const reset = disk.set(mmio.VIRTIO_MMIO_STATUS, 0)
        await bench.run(script(...requests, disk.kick(), reset))
        while ((await disk.status()) !== 0);
        bench.memory.fill(DATA, 0x10_0000, 0xa5)
        const used = bench.memory.read(Number(ring!.deviceArea), 0x1000)
        for (let i = 0; i < 5; i++) await bench.run(script(disk.kick(), disk.kick()))
        expect(bench.memory.read(DATA, 0x10_0000).every((byte) => byte === 0xa5)).toBe(true)
        expect(bench.memory.read(Number(ring!.deviceArea), 0x1000)).toEqual(used)
      }
      await disk.expectRunning()
    },
  },
  {
    id: 'MMIO-12',
    title: 'a storm of resets',
    play: async (bench) => {
      const disk = new Disk(bench)
      await disk.start()
      const resets = Array.from({ length: 200 }, () =>
        script(
          disk.set(mmio.VIRTIO_MMIO_STATUS, 0),
          disk.set(mmio.VIRTIO_MMIO_STATUS, 1),
          disk.set(mmio.VIRTIO_MMIO_STATUS, 3),
          disk.kick(),
        ),
      )
      for (let round = 0; round < 5; round++) await bench.run(script(...resets))
      const [ring] = await disk.start()
      await expectAnswers(disk, ring!)
    },
  },
  {
    id: 'MMIO-13',
    title: 'InterruptACK of what was never raised, and a write of InterruptStatus, do nothing',
    play: async (bench) => {
      const disk = new Disk(bench)
      const [ring] = await disk.start()
      await disk.write(mmio.VIRTIO_MMIO_INTERRUPT_ACK, 0xffff_ffff)
      await disk.write(mmio.VIRTIO_MMIO_INTERRUPT_STATUS, 0xffff_ffff)
      expect(await disk.read(mmio.VIRTIO_MMIO_INTERRUPT_STATUS)).toBe(0)
      await expectAnswers(disk, ring!)
    },
  },
  {
    id: 'MMIO-14',
    title: 'configuration space reads as zeros past its end, and keeps what may not be written',
    play: async (bench) => {
      const disk = new Disk(bench)
      const [ring] = await disk.start()
      const past = [WINDOW - 4, WINDOW - 8, CONFIG + 0x80]
      expect(
        await loads(
          bench,
          past.map((at) => disk.get(at)),
        ),
      ).toEqual([0, 0, 0])
      expect(await loads(bench, [disk.get(WINDOW - 1, 1), disk.get(CONFIG, 8)])).toSatisfy(
        ([last]: number[]) => last === 0,
      )
      const writes = Array.from({ length: 0x100 }, (_, at) => at).filter((at) => at !== 32)
      for (const width of [1, 2, 4] as const) {
        const inside = writes.filter((at) => at <= 0x100 - width && (at + width <= 32 || at > 32))
        await bench.run(script(...inside.map((at) => disk.set(CONFIG + at, 0xffff_ffff, width))))
      }
      expect(await disk.read(CONFIG + CONFIG_CAPACITY)).toBe(DISK_SIZE / 512)
      await expectAnswers(disk, ring!)
    },
  },
  {
    id: 'MMIO-15',
    title: 'every device: registers at random with random values, then a reset',
    play: async (bench) => {
      let seed = 12345
      const random = (below: number) => {
        seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
        return (seed >>> 8) % below
      }
      for (const name of SLOTS) {
        const device = new Device(bench, name)
        for (let round = 0; round < 20; round++) {
          const values = [0, 1, 3, 11, 15, 16, 0xffff_ffff, RINGS, RINGS + 0x4000, RINGS + 0x8000]
          const accesses = Array.from({ length: 100 }, () => {
            const register =
              REGISTERS[random(REGISTERS.length)]! + (random(9) === 0 ? random(256) : 0)
            return random(4) === 0
              ? device.get(register)
              : device.set(register, values[random(values.length)]!)
          })
          await bench.run(script(...accesses))
          await device.reset()
        }
      }
    },
  },
  {
    id: 'PORT-06',
    title: 'memory that is neither RAM nor a device reads as ones and takes writes',
    play: async (bench) => {
      const pages = Array.from({ length: 512 }, (_, i) => 0xc000_0000 + 0x7_5000 * i).filter(
        (at) => at < 0xd000_0000 || (at > 0xd001_0000 && at < 0xfec0_0000),
      )
      const read = await bench.run(script(...pages.map((at) => new Script().load(at, 4))))
      expect(read.every((value) => value === 0xffff_ffffn)).toBe(true)
      await bench.run(script(...pages.map((at) => new Script().store(at, 8, 0))))
    },
  },
]
