// The long form of test/devices/virtio/block/verify-block.test.ts, with what is built.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bundleTests } from './bundle-tests.mjs'

/** @returns the status for the shell */
export async function verifyWithModel(options) {
  const [path] = await bundleTests({ folder: 'build-verify', files: ['verify/main.ts'] })
  const { ENGINES, RINGS, verifyBlock } = await import(path)
  const { engines = ENGINES, rings = RINGS } = options
  checkNames([engines, ENGINES], [rings, RINGS])
  const operations = Number(options.operations)
  if (!(Number.isInteger(operations) && operations > 0))
    throw new Error(`--operations: expected a whole number above 0, got ${options.operations}`)
  const seed = options.seed === undefined ? (Math.random() * 2 ** 32) >>> 0 : Number(options.seed)
  const folder = mkdtempSync(join(tmpdir(), 'node-kvm-verify-'))
  let mismatches = 0
  try {
    for (const engine of engines) {
      for (const ring of rings) {
        const start = performance.now()
        const verdict = await verifyBlock({ engine, ring, operations, seed, folder })
        mismatches += verdict.mismatches
        const seconds = ((performance.now() - start) / 1000).toFixed(1)
        const gigabytes = (verdict.bytes / 1e9).toFixed(1)
        console.log(
          `${verdict.engine.padEnd(9)}${ring.padEnd(17)}${verdict.operations} operations, ${gigabytes} GB, ${seconds} s: ${verdict.mismatches} mismatches`,
        )
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  console.log(`seed ${seed}: ${mismatches} mismatches`)
  return mismatches === 0 ? 0 : 1
}

/** Each list that was given with what there is. */
export function checkNames(...lists) {
  for (const [given, known] of lists) {
    const unknown = given.find((name) => !known.includes(name))
    if (unknown !== undefined) throw new Error(`no ${unknown}; there are ${known.join(', ')}`)
  }
}
