import { expect } from 'vitest'
import { BOOT_PAGE_TABLES_START, PAGE_SIZE } from '../../../lib/arch/x86-64/layout.js'
import * as abi from '../../../lib/devices/virtio/mem/abi.js'
import * as mmio from '../../../lib/devices/virtio/transport/virtio-mmio.js'
import { type Bench, HOT_MEMORY_SIZE, HOT_MEMORY_START } from '../bench.js'
import { Device } from '../device.js'
import { DATA, HEADERS, type Ring, STATUSES, script } from '../ring.js'
import { Script } from '../script.js'
import type { Case } from './case.js'

const BLOCK = 2 ** 21
const ALLOWED = HOT_MEMORY_SIZE / 2 / BLOCK
const { VIRTIO_MEM_RESP_ACK: ACK, VIRTIO_MEM_RESP_NACK: NACK, VIRTIO_MEM_RESP_ERROR: ERROR } = abi
/** No answer: the response stays as it was. */
const NONE = 0xff
const PLUG = abi.VIRTIO_MEM_REQ_PLUG
const UNPLUG = abi.VIRTIO_MEM_REQ_UNPLUG

/** A driver of the memory device. */
class Driver {
  private constructor(
    readonly bench: Bench,
    readonly device: Device,
    readonly ring: Ring,
  ) {}

  static async start(bench: Bench): Promise<Driver> {
    const device = new Device(bench, 'mem')
    const [ring] = await device.start()
    return new Driver(bench, device, ring!)
  }

  /** Sends a request, of which the lengths may be wrong, and gives the type of the answer. */
  async send(
    type: number,
    address: number | bigint = 0,
    blocks = 0,
    { length = abi.REQUEST_SIZE, room = abi.RESPONSE_SIZE } = {},
  ): Promise<number> {
    const request = this.bench.memory.dataView(HEADERS, abi.REQUEST_SIZE)
    request.setBigUint64(0, BigInt(type), true)
    request.setBigUint64(abi.REQUEST_ADDR, BigInt.asUintN(64, BigInt(address)), true)
    request.setBigUint64(abi.REQUEST_NB_BLOCKS, BigInt(blocks), true)
    this.bench.memory.fill(STATUSES, abi.RESPONSE_SIZE, NONE)
    const buffers = [
      { address: HEADERS, length },
      { address: STATUSES, length: room, write: true },
    ]
    const before = this.device.used(this.ring)
    await this.bench.run(this.device.submit(this.ring, buffers))
    await this.device.waitUsed(this.ring, (before + 1) & 0xffff)
    return this.bench.memory.view(STATUSES, 1)[0]!
  }

  async plugged(): Promise<number> {
    return await this.device.read(mmio.VIRTIO_MMIO_CONFIG + abi.CONFIG_PLUGGED_SIZE)
  }

  /** Memory comes and goes as it should, whatever was before. */
  async end(): Promise<void> {
    expect(await this.send(abi.VIRTIO_MEM_REQ_UNPLUG_ALL)).toBe(ACK)
    expect(await this.plugged()).toBe(0)
    expect(await this.send(PLUG, HOT_MEMORY_START, 1)).toBe(ACK)
    const block = this.bench.memory.view(HOT_MEMORY_START, BLOCK)
    expect(Buffer.compare(block, new Uint8Array(BLOCK))).toBe(0)
    expect(await this.send(UNPLUG, HOT_MEMORY_START, 1)).toBe(ACK)
    await this.device.expectRunning()
    await this.device.reset()
  }
}

type Request = readonly [
  type: number,
  address: number | bigint,
  blocks: number,
  lengths?: { length?: number; room?: number },
]

/** One request and its answer, after which nothing else is plugged than before. */
function answered(id: string, title: string, request: Request, answer: number): Case {
  return {
    id,
    title,
    play: async (bench) => {
      const driver = await Driver.start(bench)
      expect(await driver.send(PLUG, HOT_MEMORY_START, 2)).toBe(ACK)
      expect(await driver.send(...request)).toBe(answer)
      expect(await driver.plugged()).toBe(2 * BLOCK)
      await driver.end()
    },
  }
}

const behind = HOT_MEMORY_START + 2 * BLOCK
const end = HOT_MEMORY_START + HOT_MEMORY_SIZE
const lastAddress = 2n ** 64n - BigInt(BLOCK)

/** Lets the guest's processor see the memory from 4 GiB on: the boot protocol's tables end there. */
function mapHotMemory({ memory }: Bench): void {
  const directory = DATA & ~(PAGE_SIZE - 1)
  const entries = memory.dataView(directory, PAGE_SIZE)
  for (let i = 0; i < HOT_MEMORY_SIZE / BLOCK; i++) {
    // Present, writable, 2 MiB.
    entries.setBigUint64(8 * i, BigInt(HOT_MEMORY_START + i * BLOCK) | 0x83n, true)
  }
  const [, pointers] = [0, 1].map((level) => BOOT_PAGE_TABLES_START + level * PAGE_SIZE)
  const at = pointers! + 8 * (HOT_MEMORY_START / 2 ** 30)
  memory.dataView(at, 8).setBigUint64(0, BigInt(directory) | 3n, true)
}

export const mem: readonly Case[] = [
  answered('MEM-01', 'more than was asked for', [PLUG, behind, ALLOWED - 1], NACK),
  answered('MEM-02', 'below the region', [PLUG, HOT_MEMORY_START - BLOCK, 1], ERROR),
  answered('MEM-02', 'at its end', [PLUG, end, 1], ERROR),
  answered('MEM-02', 'across its end', [UNPLUG, end - BLOCK, 2], ERROR),
  answered('MEM-02', 'in RAM', [UNPLUG, 0, 1], ERROR),
  answered('MEM-02', 'at the last address', [PLUG, lastAddress, 1], ERROR),
  answered('MEM-02', 'that wraps', [PLUG, lastAddress, 65535], ERROR),
  answered('MEM-02', 'between blocks', [PLUG, behind + 4096, 1], ERROR),
  answered('MEM-02', 'of no block', [PLUG, behind, 0], ERROR),
  answered('MEM-02', 'of 65,535 blocks', [PLUG, behind, 65535], ERROR),
  answered('MEM-02', 'state of blocks outside', [abi.VIRTIO_MEM_REQ_STATE, end, 1], ERROR),
  answered('MEM-03', 'a block twice', [PLUG, behind - BLOCK, 2], ERROR),
  answered('MEM-03', 'what is not plugged out', [UNPLUG, behind - BLOCK, 2], ERROR),
  answered('MEM-04', 'too short', [PLUG, behind, 1, { length: 23 }], NONE),
  answered('MEM-04', 'with no room for an answer', [PLUG, behind, 1, { room: 9 }], NONE),
  answered('MEM-05', 'of type 4', [4, behind, 1], ERROR),
  answered('MEM-05', 'of type 65,535', [0xffff, behind, 1], ERROR),
  {
    id: 'MEM-06',
    title: 'memory that is not plugged in is none',
    // Without a processor nothing is between the script and memory.
    form: 'exits',
    play: async (bench) => {
      mapHotMemory(bench)
      const driver = await Driver.start(bench)
      const access = script(
        new Script().store(HOT_MEMORY_START, 8, 0x1234),
        new Script().load(HOT_MEMORY_START, 8),
      )
      expect(await bench.run(access)).toEqual([2n ** 64n - 1n])
      expect(await driver.send(PLUG, HOT_MEMORY_START, 1)).toBe(ACK)
      expect(await bench.run(access)).toEqual([0x1234n])
      expect(await driver.send(UNPLUG, HOT_MEMORY_START, 1)).toBe(ACK)
      expect(await bench.run(access)).toEqual([2n ** 64n - 1n])
      await driver.end()
    },
  },
  {
    id: 'MEM-07',
    title: 'plugged and unplugged without end',
    play: async (bench) => {
      const driver = await Driver.start(bench)
      for (let round = 0; round < 50; round++) {
        expect(await driver.send(PLUG, HOT_MEMORY_START, ALLOWED)).toBe(ACK)
        expect(bench.memory.read(HOT_MEMORY_START + (round * BLOCK) / 8, 1)).toEqual(
          Uint8Array.of(0),
        )
        bench.memory.fill(HOT_MEMORY_START + (round * BLOCK) / 8, 4096, 0xaa)
        expect(await driver.send(abi.VIRTIO_MEM_REQ_UNPLUG_ALL)).toBe(ACK)
      }
      await driver.end()
    },
  },
  {
    id: 'MEM-08',
    title: 'a reset while memory goes back leaves the device as it was',
    play: async (bench) => {
      for (let round = 0; round < 10; round++) {
        const driver = await Driver.start(bench)
        expect(await driver.send(PLUG, HOT_MEMORY_START, ALLOWED)).toBe(ACK)
        bench.memory.fill(HOT_MEMORY_START, ALLOWED * BLOCK, 1)
        const request = bench.memory.dataView(HEADERS, abi.REQUEST_SIZE)
        request.setBigUint64(0, BigInt(abi.VIRTIO_MEM_REQ_UNPLUG_ALL), true)
        await bench.run(
          script(
            driver.device.submit(driver.ring, [
              { address: HEADERS, length: abi.REQUEST_SIZE },
              { address: STATUSES, length: abi.RESPONSE_SIZE, write: true },
            ]),
            driver.device.set(mmio.VIRTIO_MMIO_STATUS, 0),
          ),
        )
        await driver.device.reset()
        const again = await Driver.start(bench)
        await again.end()
      }
    },
  },
]
