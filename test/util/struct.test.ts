import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  address64,
  array,
  bytes,
  nested,
  s16,
  s32,
  s64,
  struct,
  u8,
  u16,
  u32,
  u64,
} from '../../lib/util/struct.js'

const Point = struct('point', 8, { x: u32(0), y: s32(4) })
const Sample = struct('sample', 80, {
  a: u8(0),
  b: u16(2),
  c: s16(4),
  d: u32(8),
  e: u64(16),
  f: s64(24),
  where: address64(32),
  name: bytes(40, 6),
  words: array(u16, 46, 3),
  point: nested(Point, 52),
  points: array((offset) => nested(Point, offset), 60, 2),
})

const invalid = (option: string) => expect.objectContaining({ code: 'ERR_INVALID_OPTION', option })

describe('struct', () => {
  it('reads back every value that a field can hold, and touches no other byte', () => {
    const fields = fc.record({
      a: fc.integer({ min: 0, max: 0xff }),
      b: fc.integer({ min: 0, max: 0xffff }),
      c: fc.integer({ min: -0x8000, max: 0x7fff }),
      d: fc.integer({ min: 0, max: 0xffff_ffff }),
      e: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      f: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      where: fc.maxSafeNat(),
      words: fc.array(fc.integer({ min: 0, max: 0xffff }), { minLength: 3, maxLength: 3 }),
    })
    fc.assert(
      fc.property(
        fields,
        fc.subarray(['a', 'b', 'c', 'd', 'e', 'f', 'where', 'words'] as const),
        (values, names) => {
          const sample = new Sample(new Uint8Array(90).fill(0xaa))
          for (const name of names) sample.assign({ [name]: values[name] })
          for (const name of names) expect(sample[name]).toEqual(values[name])
          const touched = new Set<number>()
          for (const name of names) {
            const { offset, size } = Sample.fields[name]
            for (let i = 0; i < size; i++) touched.add(offset + i)
          }
          sample.bytes.forEach((byte, index) => {
            if (!touched.has(index)) expect(byte).toBe(0xaa)
          })
        },
      ),
    )
  })

  it('is little-endian', () => {
    const sample = new Sample().assign({
      b: 0x0102,
      e: 0x0102_0304_0506_0708n,
      where: 0x1_0000_0002,
    })
    expect([...sample.bytes.subarray(2, 4)]).toEqual([2, 1])
    expect([...sample.bytes.subarray(16, 24)]).toEqual([8, 7, 6, 5, 4, 3, 2, 1])
    expect([...sample.bytes.subarray(32, 40)]).toEqual([2, 0, 0, 0, 1, 0, 0, 0])
  })

  it('is a live view of bytes that somebody else holds', () => {
    const memory = new Uint8Array(100)
    const sample = new Sample(memory.subarray(10))
    sample.a = 5
    memory[12] = 7
    expect([memory[10], sample.b]).toEqual([5, 7])
  })

  it('has live structs inside', () => {
    const sample = new Sample()
    sample.point.x = 9
    sample.points[1]!.y = -1
    expect(sample.point.toObject()).toEqual({ x: 9, y: 0 })
    expect(sample.points.map((point) => point.toObject())).toEqual([
      { x: 0, y: 0 },
      { x: 0, y: -1 },
    ])
    sample.assign({ point: { y: 3 } })
    expect(sample.point.toObject()).toEqual({ x: 9, y: 3 })
    sample.point = new Point().assign({ x: 1 })
    expect(sample.point.toObject()).toEqual({ x: 1, y: 0 })
  })

  it('shows itself as a plain object', () => {
    const sample = Sample.from({
      a: 1,
      name: Uint8Array.of(1, 2),
      words: [3],
      point: { x: 4 },
      points: [{ y: 5 }],
    })
    expect(sample.toObject()).toEqual({
      a: 1,
      b: 0,
      c: 0,
      d: 0,
      e: 0n,
      f: 0n,
      where: 0,
      name: [1, 2, 0, 0, 0, 0],
      words: [3, 0, 0],
      point: { x: 4, y: 0 },
      points: [
        { x: 0, y: 5 },
        { x: 0, y: 0 },
      ],
    })
  })

  it('takes one of its own as it is', () => {
    const sample = new Sample()
    expect(Sample.from(sample)).toBe(sample)
  })

  it.each([
    ['sample.a', { a: 256 }],
    ['sample.a', { a: -1 }],
    ['sample.a', { a: 1.5 }],
    ['sample.a', { a: Number.NaN }],
    ['sample.a', { a: '1' }],
    ['sample.a', { a: 1n }],
    ['sample.c', { c: 0x8000 }],
    ['sample.d', { d: 2 ** 32 }],
    ['sample.e', { e: 1 }],
    ['sample.e', { e: -1n }],
    ['sample.e', { e: 2n ** 64n }],
    ['sample.f', { f: 2n ** 63n }],
    ['sample.where', { where: 2 ** 53 }],
    ['sample.where', { where: 1n }],
    ['sample.name', { name: new Uint8Array(7) }],
    ['sample.name', { name: [1] }],
    ['sample.words', { words: [1, 2, 3, 4] }],
    ['sample.words[1]', { words: [1, -2] }],
    ['point.x', { point: { x: -1 } }],
    ['sample.nonsense', { nonsense: 1 }],
    ['sample.toObject', { toObject: 1 }],
    ['sample.__proto__', JSON.parse('{"__proto__": 1}')],
    ['sample', null],
    ['sample', 7],
  ])('refuses a bad value, naming %s', (option, values) => {
    expect(() => Sample.from(values as never)).toThrow(invalid(option))
  })

  it('refuses too few bytes', () => {
    expect(() => new Sample(new Uint8Array(79))).toThrow(invalid('sample'))
    expect(() => new Sample(new ArrayBuffer(80) as never)).toThrow(invalid('sample'))
  })

  it('refuses a 64-bit address beyond 2^53 when reading one as a number', () => {
    const sample = new Sample()
    sample.bytes[39] = 1
    expect(() => sample.where).toThrow(expect.objectContaining({ code: 'ERR_OUT_OF_RANGE' }))
  })

  it('refuses a layout whose fields lie outside it', () => {
    expect(() => struct('short', 4, { a: u64(0) })).toThrow('short.a')
  })
})
