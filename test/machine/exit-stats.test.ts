import { describe, expect, it } from 'vitest'
import { sumExitCounts } from '../../lib/machine/exit-stats.js'

/** As the addon has it: 64 reasons and the others, three numbers each, then the places. */
function counts(reason: number, tally: number[], others: number[], ...places: number[][]) {
  const head = new Array<number>(65 * 3).fill(0)
  head.splice(reason * 3, 3, ...tally)
  head.splice(64 * 3, 3, ...others)
  return Float64Array.from([...head, ...places.flat()])
}

describe('sumExitCounts', () => {
  it('adds up reasons and places of all vCPUs', () => {
    const { reasons, places, others } = sumExitCounts([
      counts(2, [4, 1, 100.4], [1, 1, 10], [0, 1, 0x3f8, 3, 0, 60], [0, 0, 0x3f8, 1, 1, 40]),
      counts(2, [5, 2, 50], [2, 0, 5], [0, 1, 0x3f8, 2, 1, 6], [1, 1, 0x3f8, 7, 7, 9]),
    ])
    expect([...reasons]).toEqual([[2, { count: 9, synchronous: 3, nanoseconds: 150 }]])
    expect(others).toEqual({ count: 3, synchronous: 1, nanoseconds: 15 })
    const port = { space: 'pio', address: 0x3f8 }
    expect(places).toEqual([
      { ...port, direction: 'write', count: 5, synchronous: 1, nanoseconds: 66 },
      { ...port, direction: 'read', count: 1, synchronous: 1, nanoseconds: 40 },
      { ...port, space: 'mmio', direction: 'write', count: 7, synchronous: 7, nanoseconds: 9 },
    ])
  })

  it('gives nothing for no vCPU', () => {
    const none = { count: 0, synchronous: 0, nanoseconds: 0 }
    expect(sumExitCounts([])).toEqual({ reasons: new Map(), places: [], others: none })
  })
})
