import { expect, it } from 'vitest'
import {
  alignDown,
  alignUp,
  hex,
  isPowerOfTwo,
  le16,
  le32,
  le64,
  littleEndian,
  readLittleEndian,
} from '../../lib/util/bits.js'

it('alignUp and alignDown round to multiples, beyond 2^32 too', () => {
  expect([alignUp(0, 4096), alignUp(1, 4096), alignUp(4096, 4096)]).toEqual([0, 4096, 4096])
  expect([alignDown(4095, 4096), alignDown(8191, 4096)]).toEqual([0, 4096])
  expect(alignUp(2 ** 40 + 1, 4096)).toBe(2 ** 40 + 4096)
})

it('isPowerOfTwo holds for safe integers only', () => {
  for (const value of [1, 2, 256, 2 ** 31, 2 ** 52]) expect(isPowerOfTwo(value)).toBe(true)
  for (const value of [0, -1, 3, 257, 2 ** 52 - 1, 2 ** 53 - 1, 0.5, Number.NaN, Infinity]) {
    expect(isPowerOfTwo(value)).toBe(false)
  }
})

it('littleEndian takes the low bytes, the lowest first, of negative values too', () => {
  expect(littleEndian(0x123456, 3)).toEqual([0x56, 0x34, 0x12])
  expect(littleEndian(0x123456, 2)).toEqual([0x56, 0x34])
  expect(littleEndian(2n ** 64n - 2n, 9)).toEqual([0xfe, ...Array(7).fill(0xff), 0])
  expect(le16(-2)).toEqual([0xfe, 0xff])
  expect(le32(0x8000_0001)).toEqual([1, 0, 0, 0x80])
  expect(le64(2 ** 53 - 1)).toEqual([...Array(6).fill(0xff), 0x1f, 0])
})

it('readLittleEndian reads zeroes past the end', () => {
  const bytes = [1, 2, 0xfc, 0xff]
  expect([1, 2, 4].map((width) => readLittleEndian(bytes, 0, width))).toEqual([1, 513, 0xfffc_0201])
  expect([readLittleEndian(bytes, 3, 2), readLittleEndian(bytes, 4, 4)]).toEqual([0xff, 0])
})

it('hex puts the sign before the prefix', () => {
  expect([hex(0xfee00000), hex(0n), hex(2n ** 64n - 1n), hex(-16)]).toEqual([
    '0xfee00000',
    '0x0',
    '0xffffffffffffffff',
    '-0x10',
  ])
})
