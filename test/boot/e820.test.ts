import { describe, expect, it } from 'vitest'
import { MMIO_HOLE_START, ramRanges } from '../../lib/arch/x86-64/layout.js'
import { E820_RAM, E820_RESERVED, e820Map } from '../../lib/boot/e820.js'

const GIB = 2 ** 30
const HOLE = MMIO_HOLE_START
const LOW = [
  { address: 0, size: 0x9_fc00, type: E820_RAM },
  { address: 0x9_fc00, size: 0x6_0400, type: E820_RESERVED },
]

describe('the e820 map', () => {
  it.each([
    [1, []],
    [2, [[0x10_0000, 0x20_0000]]],
    [HOLE / 2 ** 20, [[0x10_0000, HOLE]]],
    [
      4 * 1024,
      [
        [0x10_0000, HOLE],
        [4 * GIB, 8 * GIB - HOLE],
      ],
    ],
    [
      64 * 1024,
      [
        [0x10_0000, HOLE],
        [4 * GIB, 68 * GIB - HOLE],
      ],
    ],
  ])('of %i MiB', (mebibytes, high) => {
    const map = e820Map(ramRanges(mebibytes * 2 ** 20))
    expect(map.slice(0, 2)).toEqual(LOW)
    expect(map.slice(2).map(({ address, size }) => [address, address + size])).toEqual(high)
    expect(map.slice(2).every(({ type }) => type === E820_RAM)).toBe(true)
  })

  it('of 64 TiB fits where it must', () => {
    expect(e820Map(ramRanges(2 ** 46))).toHaveLength(4)
  })
})
