import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GuestMemory } from '../../lib/memory/guest-memory.js'
import { plainRegion } from '../../lib/memory/guest-region.js'

const GIB = 2 ** 30
const low = () => plainRegion(0, 0x4000)
const high = () => plainRegion(4 * GIB, 0x2000)
const outOfRange = expect.objectContaining({ code: 'ERR_OUT_OF_RANGE' })

describe('GuestMemory', () => {
  it('sorts its regions and adds up their sizes', () => {
    const memory = new GuestMemory([high(), low()])
    expect(memory.regions.map((region) => region.guestAddress)).toEqual([0, 4 * GIB])
    expect(memory.size).toBe(0x6000)
  })

  it('refuses regions that overlap, and takes ones that touch', () => {
    expect(() => new GuestMemory([low(), plainRegion(0x3000, 0x1000)])).toThrow(outOfRange)
    expect(() => new GuestMemory([low(), plainRegion(0x4000, 0x1000)])).not.toThrow()
  })

  it('reads what was written, live, in every region', () => {
    const memory = new GuestMemory([low(), high()])
    const view = memory.view(4 * GIB + 0x1ffe, 2)
    memory.write(4 * GIB + 0x1ffe, Uint8Array.of(1, 2))
    expect([...view]).toEqual([1, 2])
    expect([...memory.read(4 * GIB + 0x1ffe, 2)]).toEqual([1, 2])
    view[0] = 9
    expect(memory.dataView(4 * GIB + 0x1ffe, 2).getUint16(0, true)).toBe(0x0209)
    memory.fill(4 * GIB, 0x2000, 0xff)
    expect(memory.read(4 * GIB, 0x2000).every((byte) => byte === 0xff)).toBe(true)
    expect(memory.read(0, 0x4000).every((byte) => byte === 0)).toBe(true)
  })

  it('gives a range exactly if one region holds all of it', () => {
    const memory = new GuestMemory([low(), plainRegion(0x4000, 0x1000), high()])
    const address = fc.oneof(
      fc.integer({ min: 0, max: 0x6000 }),
      fc.integer({ min: 4 * GIB - 16, max: 4 * GIB + 0x2010 }),
      fc.maxSafeInteger(),
      fc.double(),
    )
    fc.assert(
      fc.property(
        address,
        fc.oneof(fc.integer({ min: -1, max: 0x5000 }), fc.maxSafeInteger()),
        (start, length) => {
          const inside =
            Number.isInteger(start) &&
            length >= 0 &&
            memory.regions.some(
              (region) =>
                start >= region.guestAddress &&
                start < region.guestAddress + region.size &&
                start + length <= region.guestAddress + region.size,
            )
          expect(memory.findRegion(start, length) !== undefined).toBe(inside)
          if (inside) expect(memory.view(start, length).length).toBe(length)
          else expect(() => memory.view(start, length)).toThrow(outOfRange)
        },
      ),
    )
  })

  it.each([Number.NaN, -1, 0.5, 2 ** 53, Infinity, '0', null, undefined, 0n])(
    'refuses the address %s',
    (address) => {
      const memory = new GuestMemory([low()])
      expect(() => memory.view(address as number, 1)).toThrow(outOfRange)
      expect(() => memory.view(0, address as number)).toThrow(outOfRange)
    },
  )

  it('raises ERR_CLOSED after close, which may be called again', () => {
    let closes = 0
    const memory = new GuestMemory([{ ...low(), close: () => closes++ }])
    memory.close()
    memory.close()
    expect(closes).toBe(1)
    expect(memory.closed).toBe(true)
    for (const access of [
      () => memory.view(0, 1),
      () => memory.write(0, new Uint8Array(1)),
      () => memory.findRegion(0, 1),
    ]) {
      expect(access).toThrow(expect.objectContaining({ code: 'ERR_CLOSED' }))
    }
  })
})
