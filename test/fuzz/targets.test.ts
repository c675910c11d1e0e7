import { describe, expect, it } from 'vitest'
// @ts-expect-error: plain JavaScript, as the scripts are
import { readCorpus } from '../../scripts/lib/fuzz-corpus.mjs'
import { targets } from './targets/all.js'

describe.each(Object.entries(targets))('the fuzz target %s', (name, target) => {
  const seeds = target.seeds?.() ?? []

  it('survives its seeds, each cut short, and its corpus', async () => {
    const inputs = [new Uint8Array(0), ...seeds, ...readCorpus(name)]
    for (const seed of seeds) {
      for (let i = 1; i < 8; i++) inputs.push(seed.slice(0, (seed.length * i) >> 3))
    }
    for (const input of inputs) await target.run(input)
  })
})

it('a target that finds something fails', async () => {
  const { check } = await import('./targets/target.js')
  expect(() => check(false, 'what it found')).toThrow('what it found')
})
