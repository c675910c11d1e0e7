import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { RINGS, verifyBlock } from '../../../verify/block-operations.js'
import { DiskModel } from '../../../verify/disk-model.js'
import { ENGINES } from '../../../verify/verified-disks.js'

const folder = mkdtempSync(join(tmpdir(), 'node-kvm-verify-'))
afterAll(() => rmSync(folder, { recursive: true }))

// The short form of `npm run verify:block`.
describe.each(ENGINES)('random operations on a disk by %s', (engine) => {
  it.each(RINGS)('are those of a model, over a %s ring', async (ring) => {
    const seed = (Math.random() * 2 ** 32) >>> 0
    const verdict = await verifyBlock({ engine, ring, operations: 20_000, seed, folder })
    const { mismatches, operations, usedEntries } = verdict
    expect({ seed, mismatches, operations, engine: verdict.engine }).toEqual({
      seed,
      mismatches: 0,
      operations: 20_000,
      engine,
    })
    if (ring.endsWith('in-order')) expect(usedEntries).toBeLessThan(operations)
    else expect(usedEntries).toBeGreaterThanOrEqual(operations)
  })
})

describe('the model', () => {
  it('sees a byte that is wrong, except where nobody can know', () => {
    const model = new DiskModel(8)
    model.write(2, new Uint8Array(1024).fill(1))
    const data = new Uint8Array(4 * 512).fill(1, 512, 1536)
    expect(model.mismatches(1, data)).toBe(0)
    data[600] = 2
    expect(model.mismatches(1, data)).toBe(1)
    model.discard(2, 1)
    expect(model.mismatches(1, data)).toBe(0)
    model.zero(2, 1)
    expect(model.mismatches(1, data)).toBe(1)
  })

  it('lets no request meet a change in flight', () => {
    const model = new DiskModel(8)
    expect(model.begin(0, 4, false)).toBe(true)
    expect(model.begin(3, 2, false)).toBe(true)
    expect(model.begin(4, 2, true)).toBe(false)
    expect(model.begin(5, 2, true)).toBe(true)
    expect(model.begin(6, 1, false)).toBe(false)
    model.end(5, 2, true)
    expect(model.begin(6, 1, false)).toBe(true)
  })
})
