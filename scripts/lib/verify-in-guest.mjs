// fio in a Linux guest writes blocks with their checksums, reads them all back, and compares.
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const ENGINES = ['io_uring', 'threads', 'js']
const RINGS = ['split', 'packed']
/** What the emulated host needs besides the disk image, which lies in its memory. */
const HOST_MIB = 2560
/** Seconds for one guest. */
const LIMIT = 3600

/** @returns the status for the shell */
export async function verifyInGuest(options, { script, step }) {
  const { kvmUsable, parseByteSize } = await import('../../dist/lib/index.js')
  const assets = await import('../../dist/bench/lib/guest-assets.js')
  const { engines = ENGINES, rings = RINGS, size, io = size } = options
  const unknown = rings.find((name) => !RINGS.includes(name))
  if (unknown !== undefined) throw new Error(`no ${unknown}; there are ${RINGS.join(', ')}`)
  for (const [name, text] of Object.entries({ size, io }))
    if (parseByteSize(text) === undefined) throw new Error(`--${name}: no size: ${text}`)
  if (!options.here) await step('Preparing the guest', (report) => assets.prepareAssets(report))
  if (options.here || (await kvmUsable()).usable) {
    let failed = 0
    for (const engine of engines)
      for (const ring of rings) if (!(await verified({ engine, ring, size, io }))) failed++
    console.log(`${failed} of ${engines.length * rings.length} guests found mismatches`)
    return failed === 0 ? 0 : 1
  }
  const { runInEmulatedHost } = await import('../../dist/lib/testing.js')
  const command = [process.execPath, script, '--guest', '--here', '--size', size, '--io', io]
  const lists = ['--engines', engines.join(','), '--rings', rings.join(',')]
  const result = await runInEmulatedHost([...command, ...lists], {
    stdin: 'ignore',
    timeoutSeconds: LIMIT,
    memoryMiB: HOST_MIB + Math.ceil(parseByteSize(size) / 2 ** 20),
  })
  return result.exitCode
}

async function verified({ engine, ring, size, io }) {
  const { FileDisk, parseByteSize } = await import('../../dist/lib/index.js')
  const assets = await import('../../dist/bench/lib/guest-assets.js')
  const { GuestHere } = await import('../../dist/bench/lib/guest-here.js')
  // Mostly long ones: short ones in any number are what the form with a model is for.
  const job =
    '--name=verify --rw=randwrite --bssplit=1m/40:256k/40:64k/10:4k/10 --direct=1 --ioengine=libaio --thread --iodepth=16'
  const check = `--verify=crc32c --verify_fatal=1 --size=${parseByteSize(size)} --io_size=${parseByteSize(io)}`
  const spec = await assets.benchmarkGuest(
    assets.execParameter(`${assets.mountPrograms('/dev/vdb')}
echo VERIFY-BEGIN
/programs/bin/fio ${job} ${check} --filename=/dev/vda --output=/tmp/fio
status=$?
grep -E 'err=|READ:|WRITE:|verify' /tmp/fio
echo VERIFY-STATUS $status.`),
  )
  const folder = mkdtempSync(join(tmpdir(), 'node-kvm-verify-'))
  let guest
  try {
    const path = join(folder, 'disk.img')
    writeFileSync(path, '')
    truncateSync(path, parseByteSize(size))
    const disks = [
      new FileDisk(path, { engine }),
      new FileDisk((await assets.programs()).image, { readOnly: true }),
    ]
    guest = await GuestHere.create(spec, { disks, packedQueues: ring === 'packed' })
    const { vm } = guest
    await vm.start()
    void vm.stopped.then(({ error }) => error && console.error(error))
    await guest.said('VERIFY-BEGIN')
    const start = performance.now()
    await guest.said('VERIFY-STATUS', LIMIT)
    await guest.said('.\r\n', 10)
    const { counters } = vm.disks[0]
    const seconds = ((performance.now() - start) / 1000).toFixed(0)
    const good = /VERIFY-STATUS 0\./.test(guest.output) && counters.errors === 0
    console.log(
      `${vm.disks[0].engine}, ${ring} ring: ${counters.writes} writes, ${counters.reads} reads, ${seconds} s: ${good ? '0 mismatches' : 'FAILED'}`,
    )
    if (!good) console.log(guest.output.slice(-3000))
    return good
  } finally {
    await guest?.vm.close()
    rmSync(folder, { recursive: true, force: true })
  }
}
