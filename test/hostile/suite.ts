import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import type { Bench } from './bench.js'
import { Disk } from './block.js'
import { cases } from './cases/cases.js'
import { TurnMeter } from './turn-meter.js'

/** Every case on one bench; after each the same disk verifies, and what else must hold does. */
export function playCases<B extends Bench>(
  form: Bench['form'],
  create: () => Promise<B>,
  alsoHolds: (bench: B) => Promise<void>,
): void {
  let bench: B
  let meter: TurnMeter
  beforeAll(async () => {
    meter = new TurnMeter()
    bench = await create()
  })
  afterAll(async () => {
    meter.close()
    await bench?.close()
  })
  afterEach(async () => {
    // In counts of work: what a turn takes in time is for benchmarks.
    expect(TurnMeter.excess(meter.take())).toEqual({})
    // A warning for each time that a device stopped: no more than the case was to have.
    expect(bench.warnings.length).toBeLessThanOrEqual(10)
    bench.warnings.length = 0
    bench.frames.length = 0
    await new Disk(bench).expectVerifies()
    expect(bench.warnings).toEqual([])
    await alsoHolds(bench)
    expect(meter.take().chains).toBeGreaterThan(0)
  })
  const mine = cases.filter((one) => one.form === undefined || one.form === form)
  it.each(mine.map((one) => [`${one.id} ${one.title}`, one] as const))('%s', (_name, one) =>
    one.play(bench),
  )
}

/** Bytes that all cases together may leave behind when they have been played before. */
const GROWTH_MAX = 2 ** 20

/** Cases played once more grow nothing: neither this thread's heap nor what it holds outside. */
export function growNothing<B extends Bench>(form: Bench['form'], create: () => Promise<B>): void {
  it('grow nothing when they come again', async () => {
    const bench = await create()
    const mine = cases.filter((one) => one.form === undefined || one.form === form)
    const round = async () => {
      for (const one of mine) {
        await one.play(bench)
        bench.warnings.length = 0
        bench.frames.length = 0
        await new Disk(bench).expectVerifies()
      }
      return memoryInUse()
    }
    try {
      await round()
      const before = await round()
      const growth = (await round()) - before
      expect(growth).toBeLessThan(GROWTH_MAX)
    } finally {
      await bench.close()
    }
  })
}

async function memoryInUse(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    globalThis.gc?.()
    await new Promise((resolve) => setImmediate(resolve))
  }
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}
