import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeCommandLine, virtioMmioParameter } from '../../lib/boot/command-line.js'
import { failureOf } from '../helpers/boot.js'

const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes)

describe('a command line', () => {
  it('is its parts with blanks between, and a NUL', () => {
    expect(decode(encodeCommandLine(['a b', '', 'c'], 100))).toBe('a b c\0')
    expect(decode(encodeCommandLine([], 100))).toBe('\0')
    expect(decode(encodeCommandLine(['a\tb="x y" ~'], 100))).toBe('a\tb="x y" ~\0')
  })

  it('may be exactly as long as allowed', () => {
    expect(encodeCommandLine(['abc', 'de'], 6)).toHaveLength(7)
    expect(failureOf(() => encodeCommandLine(['abc', 'de'], 5))).toMatchObject({
      code: 'ERR_COMMAND_LINE',
      option: 'commandLine',
      value: 'abc de',
      expected: 'at most 5, which is what this kernel takes',
    })
    expect(decode(encodeCommandLine([], 0))).toBe('\0')
  })

  it.each([
    ['\0', 'U+0000 at position 4'],
    ['\n', 'U+000a at position 4'],
    ['\r', 'U+000d at position 4'],
    ['\x7f', 'U+007f at position 4'],
    ['\x80', 'U+0080 at position 4'],
    ['ü', 'U+00fc at position 4'],
    ['\u{1f600}', 'U+d83d at position 4'],
    ['\ud800', 'U+d800 at position 4'],
    ['\udc00', 'U+dc00 at position 4'],
    ['\u2028', 'U+2028 at position 4'],
  ])('may not have %j', (character, found) => {
    const error = failureOf(() => encodeCommandLine([`a=b ${character}c`], 100))
    expect(error.code).toBe('ERR_COMMAND_LINE')
    expect(error.message).toContain(found)
    expect(error.message).toMatch(/^[\x20-\x7e]*$/)
  })

  it('of 64 MiB is refused in few words', () => {
    const error = failureOf(() => encodeCommandLine(['x'.repeat(2 ** 26)], 2047))
    expect(error.message.length).toBeLessThan(200)
  })

  it('is either refused or given back', () => {
    // Code units, lone surrogates among them. (fast-check's own 'binary' takes seconds to make, and has none.)
    const anyUnit = fc.integer({ min: 0, max: 0xffff })
    const unit = fc.oneof({ weight: 60, arbitrary: fc.integer({ min: 0x20, max: 0x7e }) }, anyUnit)
    const part = fc
      .array(unit, { maxLength: 20 })
      .map((codes) => codes.map((code) => String.fromCharCode(code)).join(''))
    const seen = { refused: 0, given: 0 }
    fc.assert(
      fc.property(fc.array(part, { maxLength: 4 }), (parts) => {
        const bytes = attempt(parts)
        if (bytes === undefined) return void seen.refused++
        seen.given++
        expect(bytes.length).toBeLessThanOrEqual(41)
        expect(decode(bytes)).toBe(`${parts.filter(Boolean).join(' ')}\0`)
        expect(bytes.indexOf(0)).toBe(bytes.length - 1)
      }),
      { numRuns: 1000 },
    )
    expect(seen.refused).toBeGreaterThan(0)
    expect(seen.given).toBeGreaterThan(0)
  })
})

/** The encoded line, or `undefined` if it is refused as a command line is. */
function attempt(parts: readonly string[]): Uint8Array | undefined {
  try {
    return encodeCommandLine(parts, 40)
  } catch (error) {
    expect(error).toMatchObject({ code: 'ERR_COMMAND_LINE', option: 'commandLine' })
    return undefined
  }
}

it('names a virtio-mmio device as Linux wants it', () => {
  expect(virtioMmioParameter({ address: 0xd000_1000, size: 512, gsi: 5 })).toBe(
    'virtio_mmio.device=512@0xd0001000:5',
  )
})
