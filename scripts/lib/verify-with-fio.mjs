// fio --verify on this machine: its file is served by our disk, over each format of ring (test/verify/fio-on-device.ts).
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bundleTests } from './bundle-tests.mjs'
import { checkNames } from './verify-with-model.mjs'

const JOBS = 4
/** Of libuv: each request that is waited for takes one, as does each that the engine `js` has. */
const THREADS = '24'
const MIX = '--rw=randwrite --bssplit=4k/20:64k/30:256k/30:1m/20 --direct=1 --ioengine=psync'
const VERIFY = '--verify=crc32c --verify_fatal=1 --do_verify=1 --fsync=256'

/** @returns the status for the shell */
export async function verifyWithFio(options) {
  if (process.env.UV_THREADPOOL_SIZE === undefined) {
    const env = { ...process.env, UV_THREADPOOL_SIZE: THREADS }
    return spawnSync(process.execPath, process.argv.slice(1), { stdio: 'inherit', env }).status ?? 1
  }
  const [path] = await bundleTests({ folder: 'build-verify', files: ['verify/main.ts'] })
  const { ENGINES, RINGS, verifyWithFio: verify } = await import(path)
  const { parseByteSize } = await import('../../dist/lib/index.js')
  const { programs } = await import('../../dist/bench/lib/guest-assets.js')
  const { rings = RINGS } = options
  // The others keep what is written in memory.
  const engines = options.engines ?? ENGINES.filter((name) => !['overlay', 'custom'].includes(name))
  checkNames([engines, ENGINES], [rings, RINGS])
  const bytes = parseByteSize(options.size)
  if (!bytes || bytes % (JOBS * 2 ** 20) !== 0)
    throw new Error(`--size: expected a multiple of ${JOBS} MiB, got ${options.size}`)
  const part = bytes / JOBS
  const jobs = `--numjobs=${JOBS} --thread --group_reporting --size=${part} --offset_increment=${part}`
  const { folder: tools } = await programs()
  const fio = [join(tools, 'bin/fio'), '--name=verify', ...`${MIX} ${VERIFY} ${jobs}`.split(' ')]
  const gigabytes = (bytes / 1e9).toFixed(1)
  let failed = 0
  for (const engine of engines) {
    for (const ring of rings) {
      const folder = mkdtempSync(join(tmpdir(), 'node-kvm-verify-'))
      try {
        const start = performance.now()
        const verdict = await verify({ engine, ring, bytes, folder, fio })
        const seconds = ((performance.now() - start) / 1000).toFixed(1)
        const counts = `${verdict.writes} writes, ${verdict.reads} reads`
        const found = verdict.good ? '0 mismatches' : 'FAILED'
        console.log(
          `${verdict.engine.padEnd(9)}${ring.padEnd(17)}${gigabytes} GB, ${counts}, ${seconds} s: ${found}`,
        )
        if (!verdict.good) {
          failed++
          console.log(verdict.output.slice(-3000))
        }
      } finally {
        rmSync(folder, { recursive: true, force: true })
      }
    }
  }
  return failed === 0 ? 0 : 1
}
