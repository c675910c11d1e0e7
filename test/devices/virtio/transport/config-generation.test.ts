import { expect, it } from 'vitest'
import { ConfigGeneration } from '../../../../lib/devices/virtio/transport/config-generation.js'

it('is another one after a change, however often and whichever byte, and the same after none', () => {
  const config = new Uint8Array(8)
  const generation = new ConfigGeneration(config)
  const seen = [generation.of(config)]
  for (const byte of [0, 7, 7]) {
    config[byte]!++
    seen.push(generation.of(config))
    expect(generation.of(config)).toBe(seen.at(-1))
  }
  expect(new Set(seen).size).toBe(4)
})

it('does not tell of a change that was undone before anybody looked', () => {
  const config = Uint8Array.of(1)
  const generation = new ConfigGeneration(config)
  const before = generation.of(config)
  config[0] = 2
  config[0] = 1
  expect(generation.of(config)).toBe(before)
})
