import fc from 'fast-check'

const segment = fc.record({
  address: fc.integer({ min: 0x8000, max: 0xf0000 }),
  length: fc.integer({ min: 0, max: 70_000 }),
})
const chain = fc.tuple(
  fc.array(segment, { maxLength: 3 }),
  fc.array(segment, { maxLength: 3 }),
  fc.boolean(),
)
/** What driver and device may do with a ring, by turns. */
export const ringStep = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('add' as const), chain }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('kick' as const) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('finish' as const), pick: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('reap' as const) }) },
)
