import { expect, it } from 'vitest'
import { SkippingClock } from '../../lib/util/skipping-clock.js'

it('goes on, less what it skips', () => {
  const clock = new SkippingClock()
  const before = clock.now()
  while (clock.now() - before < 1000n);
  const behind = process.hrtime.bigint() - clock.now()
  clock.skip(2n ** 50n)
  clock.skip(1n)
  const after = process.hrtime.bigint() - clock.now()
  expect(after - behind).toBeGreaterThan(2n ** 50n - 2n ** 40n)
  expect(after - behind).toBeLessThan(2n ** 50n + 2n ** 40n)
})
