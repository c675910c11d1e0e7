import { expect, it } from 'vitest'
import { cmosContents } from '../../../lib/arch/x86-64/cmos.js'
import { ramRanges } from '../../../lib/arch/x86-64/layout.js'

const MIB = 2 ** 20
const word = (contents: Map<number, number>, index: number) =>
  contents.get(index)! + contents.get(index + 1)! * 256

it.each([
  [16, 15 * 1024, 0, 0],
  [256, 0xffff, 240 * 16, 0],
  [2816, 0xffff, (2816 - 16) * 16, 0],
  [5120, 0xffff, (2816 - 16) * 16, 2304 * 16],
])('tells of %i MiB', (mebibytes, extended, above16M, above4G) => {
  const contents = cmosContents(ramRanges(mebibytes * MIB), 3)
  expect(word(contents, 0x15)).toBe(639)
  expect(word(contents, 0x17)).toBe(extended)
  expect(word(contents, 0x30)).toBe(extended)
  expect(word(contents, 0x34)).toBe(above16M)
  expect(word(contents, 0x5b) + contents.get(0x5d)! * 0x1_0000).toBe(above4G)
  expect(contents.get(0x5f)).toBe(2)
})
