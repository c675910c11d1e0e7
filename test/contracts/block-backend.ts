import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { BlockBackend, BlockChannel } from '../../lib/backends/block/block-backend.js'
import type { GuestMemory } from '../../lib/memory/guest-memory.js'
import { idleAttachment } from '../helpers/block-driver.js'
import { until } from '../helpers/virtio-driver.js'

const RAM = 0x200000
const CAPACITY = 512 * 256

export interface BlockContract {
  /** A writable disk of 256 sectors, open, all zeroes. */
  create(): Promise<BlockBackend>
  memory(): GuestMemory
  /** What `attach` is expected to report. */
  engine: string
}

/** What every block backend does, whatever it keeps its sectors in. Memory is 2 MiB at 0. */
export function blockBackendContract(name: string, contract: BlockContract): void {
  describe(`the contract of block backends: ${name}`, () => {
    let backend: BlockBackend
    let memory: GuestMemory
    let channel: BlockChannel
    let batches = 0
    const results = new Map<number, number[]>()
    const failures: Error[] = []

    beforeEach(async () => {
      backend = await contract.create()
      memory = contract.memory()
      results.clear()
      batches = 0
      channel = backend.attach({
        memory,
        tags: 64,
        segments: 126,
        complete: (tag, error) => results.set(tag, [...(results.get(tag) ?? []), error]),
        completed: () => batches++,
        resized: () => {},
        failed: (error) => failures.push(error),
      })
    })
    afterEach(async () => {
      await channel.close()
      await backend.close()
      memory.close()
      expect(failures).toEqual([])
    })

    /** Submits and waits for every tag; gives their errors. */
    async function done(...tags: number[]): Promise<number[]> {
      channel.submit()
      await until(() => tags.every((tag) => results.has(tag)), 'completions')
      const errors = tags.map((tag) => {
        const all = results.get(tag)!
        expect(all, `completions of tag ${tag}`).toHaveLength(1)
        return all[0]!
      })
      results.clear()
      return errors
    }

    it('knows its size and its engine', () => {
      expect(backend.capacity).toBe(CAPACITY)
      expect(backend.readOnly).toBe(false)
      expect(channel.engine).toBe(contract.engine)
      expect(channel.inFlight).toBe(0)
    })

    it('keeps what is written', async () => {
      memory.fill(0x1000, 1024, 0x11)
      channel.write(1, 4096, false)
      channel.segment(0x1000, 1024)
      expect(await done(1)).toEqual([0])
      channel.read(2, 4096 - 512)
      channel.segment(0x8000, 2048)
      expect(await done(2)).toEqual([0])
      const expected = new Uint8Array(2048).fill(0x11, 512, 1536)
      expect(memory.read(0x8000, 2048)).toEqual(expected)
      expect(batches).toBeGreaterThanOrEqual(2)
    })

    it('gathers and scatters segments of any length and alignment', async () => {
      const lengths = [1, 2, 509, 1000, 24, 512, 3, 1533]
      const total = lengths.reduce((a, b) => a + b)
      channel.write(0, 512, false)
      const parts = lengths.map((length, i) => {
        const at = 0x1000 * (i + 1) + i
        memory.write(
          at,
          Uint8Array.from({ length }, (_, j) => i * 31 + j),
        )
        channel.segment(at, length)
        return memory.read(at, length)
      })
      expect(await done(0)).toEqual([0])
      channel.read(1, 512)
      for (let i = 0, at = 0x40001; i < total; i += 7, at += 9)
        channel.segment(at, Math.min(7, total - i))
      // That is more segments than one system call of the engines takes at once only if they do not bound it.
      expect((await done(1))[0]).toBe(0)
      const seen: number[] = []
      for (let i = 0, at = 0x40001; i < total; i += 7, at += 9)
        seen.push(...memory.read(at, Math.min(7, total - i)))
      expect(seen).toEqual(parts.flatMap((part) => [...part]))
    })

    it('refuses memory outside the guest, and does nothing of that request', async () => {
      memory.fill(0x1000, 512, 0x22)
      channel.write(1, 0, false)
      channel.segment(0x1000, 512)
      channel.segment(RAM - 1, 512)
      channel.write(2, 1024, false)
      channel.segment(0x1000, 512)
      const [bad, good] = await done(1, 2)
      expect(bad).toBeGreaterThan(0)
      expect(good).toBe(0)
      channel.read(3, 0)
      channel.segment(0x8000, 1536)
      await done(3)
      expect(memory.read(0x8000, 1024)).toEqual(new Uint8Array(1024))
      expect(memory.read(0x8400, 512)).toEqual(new Uint8Array(512).fill(0x22))
    })

    it.each([2 ** 53, Number.NaN, -1, 0.5, Number.POSITIVE_INFINITY])(
      'refuses the address %d',
      async (address) => {
        channel.read(1, 0)
        channel.segment(address, 512)
        expect((await done(1))[0]).toBeGreaterThan(0)
      },
    )

    it('flushes, many at once too', async () => {
      channel.flush(1)
      expect(await done(1)).toEqual([0])
      const tags = Array.from({ length: 64 }, (_, i) => i)
      for (const tag of tags) channel.flush(tag)
      expect(await done(...tags)).toEqual(tags.map(() => 0))
    })

    it('flushes in the midst of writes', async () => {
      const tags = Array.from({ length: 60 }, (_, i) => i)
      for (const tag of tags) {
        if (tag % 3 === 0) {
          channel.flush(tag)
        } else {
          channel.write(tag, 512 * tag, tag % 3 === 1)
          channel.segment(0x1000, 512)
        }
      }
      expect(await done(...tags)).toEqual(tags.map(() => 0))
    })

    it('drains: nothing is in flight afterwards, and every request was answered', async () => {
      for (let tag = 0; tag < 64; tag++) {
        channel.read(tag, 512 * tag)
        channel.segment(0x1000 + 512 * tag, 512)
      }
      channel.submit()
      await channel.drain()
      expect(channel.inFlight).toBe(0)
      expect(results.size).toBe(64)
      await channel.drain()
    })

    it('closes with requests in flight, and again', async () => {
      for (let tag = 0; tag < 32; tag++) {
        channel.write(tag, 512 * tag, false)
        channel.segment(0x1000, 512)
      }
      channel.flush(40)
      channel.submit()
      await Promise.all([channel.close(), channel.close()])
      expect(results.size).toBe(33)
    })

    it('serves one device at a time', () => {
      expect(() => backend.attach(idleAttachment(memory))).toThrow(
        expect.objectContaining({ code: 'ERR_STATE' }),
      )
    })

    it('agrees with a model over any sequence of requests', async () => {
      const request = fc.record({
        kind: fc.constantFrom('read', 'write', 'flush', 'discard', 'zero'),
        sector: fc.nat(255),
        sectors: fc.integer({ min: 1, max: 16 }),
        fill: fc.integer({ min: 1, max: 255 }),
        cut: fc.nat(511),
      })
      const model = new Uint8Array(CAPACITY)
      channel.write(0, 0, false)
      memory.fill(0x1000, CAPACITY, 0)
      channel.segment(0x1000, CAPACITY)
      await done(0)
      await fc.assert(
        fc.asyncProperty(fc.array(request, { maxLength: 20 }), async (requests) => {
          for (const { kind, sector, sectors, fill, cut } of requests) {
            const offset = sector * 512
            const length = Math.min(sectors * 512, CAPACITY - offset)
            const segments = () => {
              channel.segment(0x40000 + cut, cut + 1)
              channel.segment(0x60000, length - cut - 1 || 1)
            }
            if (kind === 'flush') channel.flush(5)
            else if (kind === 'zero' || kind === 'discard') {
              if (!backend.writesZeroes) continue
              channel.writeZeroes(5, offset, length, kind === 'discard')
              model.fill(0, offset, offset + length)
            } else if (cut + 1 >= length) {
              continue
            } else if (kind === 'write') {
              memory.fill(0x40000 + cut, cut + 1, fill)
              memory.fill(0x60000, length - cut - 1, fill ^ 0xff)
              model
                .fill(fill, offset, offset + cut + 1)
                .fill(fill ^ 0xff, offset + cut + 1, offset + length)
              channel.write(5, offset, fill % 8 === 0)
              segments()
            } else {
              channel.read(5, offset)
              segments()
            }
            expect(await done(5)).toEqual([0])
            if (kind === 'read') {
              const seen = [
                ...memory.read(0x40000 + cut, cut + 1),
                ...memory.read(0x60000, length - cut - 1),
              ]
              expect(Buffer.from(seen).equals(model.subarray(offset, offset + length))).toBe(true)
            }
          }
        }),
        { numRuns: 40 },
      )
      channel.read(6, 0)
      channel.segment(0x100000, CAPACITY)
      expect(await done(6)).toEqual([0])
      expect(Buffer.from(memory.view(0x100000, CAPACITY)).equals(model)).toBe(true)
    })
  })
}
