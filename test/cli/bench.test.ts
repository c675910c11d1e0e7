import { expect, it } from 'vitest'
import { figureOf, formatNumber } from '../../lib/cli/bench/figures.js'

it.each([
  [[5], 5, 5, 5],
  [[3, 1, 2], 2, 1, 3],
  [[4, 1, 10, 2], 3, 1, 10],
])('%j has the median %d', (samples, median, smallest, largest) => {
  const runs = samples.length
  const name = 'x'
  expect(figureOf(name, 'ms', samples)).toEqual({
    name,
    unit: 'ms',
    median,
    smallest,
    largest,
    runs,
  })
})

it.each([
  [0.012345, '0.0123'],
  [12.345, '12.3'],
  [1234.5, '1,235'],
])('%d is shown as %s', (value, text) => expect(formatNumber(value)).toBe(text))
