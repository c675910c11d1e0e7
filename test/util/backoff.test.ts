import { expect, it } from 'vitest'
import { Backoff } from '../../lib/util/backoff.js'

it('tries ever less often in vain, and each time once it has worked', () => {
  const backoff = new Backoff()
  const tries: number[] = []
  for (let i = 0; i < 200; i++) {
    if (!backoff.due()) continue
    tries.push(i)
    backoff.tried(false)
  }
  expect(tries).toEqual([0, 1, 3, 7, 15, 31, 63, 127])
  while (!backoff.due());
  backoff.tried(true)
  expect(backoff.due()).toBe(true)
  backoff.tried(false)
  expect(backoff.due()).toBe(true)
})
