import { describe, expect, it } from 'vitest'
import { CorruptDataError } from '../../../lib/boot/decompress/corrupt-data-error.js'
import { decompressLz4 } from '../../../lib/boot/decompress/lz4.js'
import { compressWith, lz4Literals, missingCompressor, words } from '../../helpers/compressed.js'

const text = (value: string) => new TextEncoder().encode(value)

/** A frame of blocks. */
function frame(...blocks: (readonly number[])[]): Uint8Array {
  const sized = blocks.flatMap((block) => [block.length, 0, 0, 0, ...block])
  return Uint8Array.from([0x02, 0x21, 0x4c, 0x18, ...sized])
}

describe('LZ4', () => {
  it.each([0, 1, 14, 15, 16, 269, 270, 271, 1000])('gives %i literals', (count) => {
    const bytes = words(400).subarray(0, count)
    expect(decompressLz4(lz4Literals(bytes), count)).toEqual(bytes)
  })

  it('repeats what overlaps itself, within a block', () => {
    // 'ab', then 10 bytes from 2 before, then 'c'.
    const block = [0x26, 0x61, 0x62, 2, 0, 0x10, 0x63]
    expect(decompressLz4(frame(block), 100)).toEqual(text('ababababababc'))
    expect(decompressLz4(frame(block, block), 100)).toEqual(text('ababababababcababababababc'))
    const beyond = [0x10, 0x61, 14, 0, 0x10, 0x63]
    expect(() => decompressLz4(frame(block, beyond), 100)).toThrow(CorruptDataError)
  })

  it('takes long matches', () => {
    // 'x', then 15 + 255 + 3 + 4 more of it.
    const block = [0x1f, 0x78, 1, 0, 255, 3, 0x10, 0x79]
    expect(decompressLz4(frame(block), 279)).toEqual(text(`${'x'.repeat(278)}y`))
    expect(() => decompressLz4(frame(block), 200)).toThrow('more than it may give')
  })

  it.each([
    ['a block beyond the end', [0x02, 0x21, 0x4c, 0x18, 5, 0, 0, 0, 0x10]],
    ['a block of 4 GiB', [0x02, 0x21, 0x4c, 0x18, 0xff, 0xff, 0xff, 0xff, 0x10]],
    ['an empty block', [0x02, 0x21, 0x4c, 0x18, 0, 0, 0, 0]],
    ['bytes behind its blocks', [...frame([0x10, 0x61]), 1]],
    ['too few literals', [...frame([0x20, 0x61])]],
    ['a length that is cut off', [...frame([0xf0, 255])]],
    ['an offset that is cut off', [...frame([0x10, 0x61, 1])]],
    ['an offset of 0', [...frame([0x10, 0x61, 0, 0, 0])]],
    ['an offset before the start', [...frame([0x10, 0x61, 2, 0, 0])]],
    ['no literals at the end', [...frame([0x10, 0x61, 1, 0])]],
  ])('refuses %s', (_, bytes) => {
    expect(() => decompressLz4(Uint8Array.from(bytes), 100)).toThrow(CorruptDataError)
  })

  it.skipIf(missingCompressor('lz4'))('reads what lz4 writes', () => {
    const bytes = words(100_000)
    for (const level of ['-1', '-9']) {
      const compressed = compressWith('lz4', ['-l', '-c', level], bytes)
      expect(compressed.length).toBeLessThan(bytes.length)
      expect(Buffer.compare(decompressLz4(compressed, bytes.length), bytes)).toBe(0)
    }
  })
})
