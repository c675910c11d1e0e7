import { describe, expect } from 'vitest'
import { memoryBench } from './memory-bench.js'
import { growNothing, playCases } from './suite.js'

describe('without KVM', () => {
  playCases('memory', memoryBench, async ({ memory, endings }) => {
    expect(memory.canariesIntact()).toBe(true)
    expect(endings).toEqual([])
  })
  growNothing('memory', memoryBench)
})
