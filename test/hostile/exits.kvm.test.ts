import { afterAll, beforeAll, describe, expect } from 'vitest'
import { exitBench } from './exit-bench.js'
import { playCases } from './suite.js'
import { Witness } from './witness.js'

describe('through the exits of a processor', () => {
  let witness: Witness
  beforeAll(async () => {
    witness = await Witness.start()
  })
  afterAll(() => witness?.close())
  playCases('exits', exitBench, async ({ vm }) => {
    expect(vm.state).toBe('running')
    await witness.expectProgress()
  })
})
