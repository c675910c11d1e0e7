import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Range, RangeMap } from '../../lib/util/range-map.js'

const range = fc.record({ base: fc.nat(60), size: fc.integer({ min: 1, max: 9 }) })
const step = fc.oneof(
  fc.record({ kind: fc.constant('add' as const), range }),
  fc.record({ kind: fc.constant('remove' as const), base: fc.nat(60) }),
  fc.record({ kind: fc.constant('find' as const), point: fc.integer({ min: -2, max: 72 }) }),
)

test('does what a plain list does', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const map = new RangeMap<Range>()
      let model: Range[] = []
      for (const step of steps) {
        if (step.kind === 'find') {
          const { point } = step
          expect(map.find(point)).toBe(model.find(({ base, end }) => base <= point && point < end))
        } else if (step.kind === 'remove') {
          expect(map.remove(step.base)).toBe(model.find(({ base }) => base === step.base))
          model = model.filter(({ base }) => base !== step.base)
        } else {
          const added = { base: step.range.base, end: step.range.base + step.range.size }
          const first = model
            .filter(({ base, end }) => base < added.end && added.base < end)
            .sort((a, b) => a.base - b.base)[0]
          expect(map.add(added)).toBe(first)
          if (first === undefined) model.push(added)
        }
        expect([...map]).toEqual([...model].sort((a, b) => a.base - b.base))
        expect(map.size).toBe(model.length)
      }
    }),
    { numRuns: 500 },
  )
})
