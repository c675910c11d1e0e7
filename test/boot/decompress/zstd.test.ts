import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CorruptDataError } from '../../../lib/boot/decompress/corrupt-data-error.js'
import { decompressZstd } from '../../../lib/boot/decompress/zstd.js'
import { littleEndian } from '../../../lib/util/bits.js'
import {
  compressWith,
  missingCompressor,
  WORDS_600,
  words,
  ZEROS_300000,
} from '../../helpers/compressed.js'

const MAGIC = [0x28, 0xb5, 0x2f, 0xfd]
/** A frame of one segment without content size beyond a byte, and its blocks. */
const frame = (...blocks: (readonly number[])[]) =>
  Uint8Array.from([...MAGIC, 0x20, 0, ...blocks.flat()])
const block = (last: 0 | 1, type: number, size: number, ...bytes: number[]) => {
  const header = last | (type << 1) | (size << 3)
  return [...littleEndian(header, 3), ...bytes]
}

describe('Zstandard', () => {
  it.each(Object.keys(WORDS_600))('reads text of %s', (level) => {
    const bytes = words(600)
    expect(decompressZstd(WORDS_600[level]!, bytes.length)).toEqual(bytes)
  })

  it('reads blocks that are stored or repeat a byte', () => {
    const whole = frame(block(0, 0, 3, 1, 2, 3), block(0, 1, 4, 9), block(1, 0, 0))
    expect(decompressZstd(whole, 7)).toEqual(Uint8Array.of(1, 2, 3, 9, 9, 9, 9))
    expect(decompressZstd(whole, 100)).toHaveLength(7)
  })

  it('reads many zeros, and gives no more than it may', () => {
    const zeros = decompressZstd(ZEROS_300000, 300_000)
    expect(zeros).toHaveLength(300_000)
    expect(zeros.every((byte) => byte === 0)).toBe(true)
    expect(() => decompressZstd(ZEROS_300000, 299_999)).toThrow('more than it may give')
    for (const level of Object.values(WORDS_600)) {
      expect(() => decompressZstd(level, words(600).length - 1)).toThrow(CorruptDataError)
    }
  })

  it.each([
    ['nothing behind its magic number', MAGIC],
    ['a dictionary', [...MAGIC, 0x21, 0, 0, 1, 0, 0]],
    ['a reserved bit', [...MAGIC, 0x28, 0, 1, 0, 0]],
    ['no blocks', [...frame()]],
    ['a block header that is cut off', [...frame([1, 0])]],
    ['a block that is cut off', [...frame(block(1, 0, 4, 1, 2, 3))]],
    ['a repeated byte that is cut off', [...frame(block(1, 1, 4))]],
    ['a block of more than 128 KiB', [...frame(block(1, 1, 128 * 1024 + 1, 7))]],
    ['a block of kind 3', [...frame(block(1, 3, 1, 0))]],
    ['no last block', [...frame(block(0, 0, 1, 1))]],
    ['an empty compressed block', [...frame(block(1, 2, 0))]],
    ['literals without sequences behind', [...frame(block(1, 2, 2, 0x08, 0x41))]],
    ['bytes behind its sequences', [...frame(block(1, 2, 4, 0x08, 0x41, 0, 0))]],
    ['a tree that is not there', [...frame(block(1, 2, 5, 0x03, 0x10, 0, 0, 0))]],
    ['the last table where there was none', [...frame(block(1, 2, 6, 0x08, 0x41, 1, 0xc0, 1, 1))]],
    ['a match before the start', [...frame(block(1, 2, 9, 0x08, 0x41, 1, 0x54, 1, 5, 0, 0x81))]],
  ])('refuses %s', (_, bytes) => {
    expect(() => decompressZstd(Uint8Array.from(bytes), 200_000)).toThrow(CorruptDataError)
  })

  it('refuses or misreads what is damaged, and does nothing worse', () => {
    const size = words(600).length
    const sources = fc.constantFrom(...Object.values(WORDS_600), ZEROS_300000)
    const damage = fc.array(fc.tuple(fc.nat(1400), fc.nat(255)), { minLength: 1, maxLength: 5 })
    let refused = 0
    fc.assert(
      fc.property(sources, damage, fc.nat(1400), fc.boolean(), (source, changes, length, isCut) => {
        const bytes = isCut ? source.slice(0, length) : source.slice()
        for (const [at, byte] of changes) if (at < bytes.length) bytes[at] = byte
        try {
          expect(decompressZstd(bytes, size).length).toBeLessThanOrEqual(size)
        } catch (error) {
          expect(error).toBeInstanceOf(CorruptDataError)
          refused++
        }
      }),
      { numRuns: 3000 },
    )
    expect(refused).toBeGreaterThan(0)
  })

  it('does nothing worse with anything at all', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (body) => {
        const compressed = block(1, 2, body.length, ...body)
        try {
          expect(decompressZstd(frame(compressed), 1000).length).toBeLessThanOrEqual(1000)
        } catch (error) {
          expect(error).toBeInstanceOf(CorruptDataError)
        }
      }),
      { numRuns: 3000 },
    )
  })

  it.skipIf(missingCompressor('zstd'))(
    'reads what zstd writes',
    () => {
      const text = words(20_000)
      const noise = Uint8Array.from(
        { length: 10_000 },
        (_, i) => Math.imul(i, 2_654_435_761) >>> 24,
      )
      const mixed = Uint8Array.from([...noise, ...text, ...new Uint8Array(200_000), ...text])
      for (const bytes of [text, noise, mixed, new Uint8Array(0), new Uint8Array(1)]) {
        for (const args of [
          ['-1'],
          ['-3', '--no-check'],
          ['-9'],
          ['--ultra', '-22'],
          ['--fast=5'],
        ]) {
          const compressed = compressWith('zstd', ['-c', ...args], bytes)
          const read = decompressZstd(compressed, bytes.length)
          expect(Buffer.compare(read, bytes), `${args} of ${bytes.length}`).toBe(0)
        }
      }
    },
    60_000,
  )
})
