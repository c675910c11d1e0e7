import { expect } from 'vitest'
import * as blk from '../../lib/devices/virtio/block/abi.js'
import { type Bench, DISK_SIZE } from './bench.js'
import { type Buffer, Device } from './device.js'
import { DATA, HEADERS, type Ring, STATUSES, script } from './ring.js'
import { Script } from './script.js'

/** A driver for a disk. */
export class Disk extends Device {
  constructor(bench: Bench, name: 'block' | 'readOnly' = 'block') {
    super(bench, name)
  }

  header(type: number, sector: number | bigint, at = HEADERS): Script {
    return new Script().store(at, 8, BigInt(type)).store(at + 8, 8, sector)
  }

  /** A whole request; gives its status byte, 0xee if the device has written none. */
  async request(
    ring: Ring,
    type: number,
    sector: number | bigint,
    data: readonly Buffer[],
  ): Promise<number> {
    await this.bench.run(
      script(
        this.header(type, sector),
        new Script().store(STATUSES, 1, 0xee),
        this.submit(ring, [
          { address: HEADERS, length: 16 },
          ...data,
          { address: STATUSES, length: 1, write: true },
        ]),
      ),
    )
    await this.waitUsed(ring)
    return this.bench.memory.read(STATUSES, 1)[0]!
  }

  /** After a reset the disk writes and reads back 256 KiB. */
  async expectVerifies(): Promise<void> {
    const [ring] = await this.start()
    const { memory } = this.bench
    const size = 0x1_0000
    for (let at = 0; at < DISK_SIZE / 4; at += size) {
      const pattern = Uint8Array.from({ length: size }, (_, i) => (i >> 8) ^ i ^ (at >> 12) ^ 0x5a)
      memory.write(DATA, pattern)
      const sector = at / 512
      expect(
        await this.request(ring!, blk.VIRTIO_BLK_T_OUT, sector, [{ address: DATA, length: size }]),
      ).toBe(0)
      memory.fill(DATA, size)
      const into = [{ address: DATA, length: size, write: true }]
      expect(await this.request(ring!, blk.VIRTIO_BLK_T_IN, sector, into)).toBe(0)
      expect(globalThis.Buffer.compare(memory.read(DATA, size), pattern)).toBe(0)
    }
    await this.reset()
  }
}
