import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FxsaveArea } from '../../lib/debug/fxsave.js'

const area = () => new FxsaveArea(new Uint8Array(4096))
/** The x87 registers, as sign and exponent, then the mantissa. */
const st = (fxsave: FxsaveArea, index: number, exponent: number, mantissa: bigint) => {
  fxsave.write(32 + 16 * index, 10, (BigInt(exponent) << 64n) | mantissa)
}

describe('the tag word', () => {
  it('is made from the registers', () => {
    const fxsave = area()
    st(fxsave, 0, 0x3fff, 1n << 63n) // 1: valid
    st(fxsave, 1, 0, 0n) // zero
    st(fxsave, 2, 0x7fff, 1n << 63n) // infinity: special
    st(fxsave, 3, 0, 1n) // denormal: special
    st(fxsave, 4, 0x3fff, 0n) // no integer bit: special
    fxsave.area[4] = 0x1f
    expect(fxsave.tagWord).toBe(0b11_11_11_10_10_10_01_00)
  })

  it('counts physical registers, ST0 being at the top of the stack', () => {
    const fxsave = area()
    st(fxsave, 0, 0, 0n)
    fxsave.write(2, 2, 7n << 11n)
    fxsave.area[4] = 1 << 7
    expect(fxsave.tagWord).toBe(0b01_11_11_11_11_11_11_11)
  })

  it('says which are empty, when it is set', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffff }), (word) => {
        const fxsave = area()
        fxsave.tagWord = word
        for (let i = 0; i < 8; i++) {
          expect(((fxsave.tagWord >> (2 * i)) & 3) === 3).toBe(((word >> (2 * i)) & 3) === 3)
        }
      }),
    )
  })
})

it('what is written is what the processor restores', () => {
  const fxsave = area()
  fxsave.write(24, 4, 0x1_0000_1f80n)
  expect(fxsave.read(24, 4)).toBe(0x1f80n)
  expect(fxsave.read(28, 4)).toBe(0n)
  expect(fxsave.area[512]).toBe(3)
})
