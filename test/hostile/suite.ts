import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import type { Bench } from './bench.js'
import { Disk } from './block.js'
import { cases } from './cases/cases.js'

/** Every case on one bench; after each the same disk verifies, and what else must hold does. */
export function playCases<B extends Bench>(
  form: Bench['form'],
  create: () => Promise<B>,
  alsoHolds: (bench: B) => Promise<void>,
): void {
  let bench: B
  beforeAll(async () => {
    bench = await create()
  })
  afterAll(() => bench?.close())
  afterEach(async () => {
    // A warning for each time that a device stopped: no more than the case was to have.
    expect(bench.warnings.length).toBeLessThanOrEqual(10)
    bench.warnings.length = 0
    bench.frames.length = 0
    await new Disk(bench).expectVerifies()
    expect(bench.warnings).toEqual([])
    await alsoHolds(bench)
  })
  const mine = cases.filter((one) => one.form === undefined || one.form === form)
  it.each(mine.map((one) => [`${one.id} ${one.title}`, one] as const))('%s', (_name, one) =>
    one.play(bench),
  )
}
