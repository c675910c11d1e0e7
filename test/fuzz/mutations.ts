import fc from 'fast-check'

const BOUNDARIES = [
  0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff,
]
const LENGTH_MAX = 65_536

type Mutation = (input: Uint8Array) => Uint8Array

/** One change of an input: a bit, a field, a piece taken out, doubled, or put in. */
const mutation: fc.Arbitrary<Mutation> = fc
  .record({
    kind: fc.nat(6),
    /** Where, as a share of the length. */
    at: fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
    width: fc.constantFrom(1, 2, 4, 8),
    value: fc.oneof(fc.constantFrom(...BOUNDARIES), fc.nat(0xffff_ffff)),
    bytes: fc.uint8Array({ maxLength: 40 }),
  })
  .map(({ kind, at, width, value, bytes }) => (input) => {
    const place = Math.floor(at * (input.length + 1))
    const copy = Uint8Array.from(input)
    const [head, tail] = [input.subarray(0, place), input.subarray(place)]
    switch (kind) {
      case 0:
        if (place < copy.length) copy[place]! ^= 1 << (value & 7)
        return copy
      case 1:
      case 2:
        for (let i = 0; i < width && place + i < copy.length; i++)
          copy[place + i] = i < 4 ? (value >>> (8 * i)) & 0xff : value === 0xffff_ffff ? 0xff : 0
        return copy
      case 3:
        return Uint8Array.from([...head, ...tail.subarray(width)])
      case 4:
        return Uint8Array.from([...head, ...bytes, ...tail])
      case 5:
        return Uint8Array.from([...input, ...tail])
      default:
        return head.slice()
    }
  })

/** Inputs made from known ones by a few changes each, and bytes at random. */
export function inputs(known: readonly Uint8Array[]): fc.Arbitrary<Uint8Array> {
  const random = fc.uint8Array({ maxLength: 400 })
  if (known.length === 0) return random
  const mutated = fc
    .tuple(fc.nat(known.length - 1), fc.array(mutation, { minLength: 1, maxLength: 6 }))
    .map(([index, changes]) =>
      changes.reduce((input, change) => change(input).subarray(0, LENGTH_MAX), known[index]!),
    )
  return fc.oneof({ weight: 9, arbitrary: mutated }, { weight: 1, arbitrary: random })
}
