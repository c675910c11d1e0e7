// Runs machines while the host's time of day jumps by a day, over and over; what waits for a time goes by another clock.
import { openSync, writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { MemoryDisk, VirtualMachine } from '../../../lib/index.js'
import { limit, PATIENCE } from '../../helpers/process-state.js'
import { Witness } from '../../hostile/witness.js'
import { halt, kernel } from '../../machine/tiny-guest.js'

const DAY = 86_400

/** Milliseconds. */
const LIMIT = 300

const [path, times] = process.argv.slice(2)
const file = openSync(path!, 'r+')
const start = Date.now()
let jumps = 0

/** @param seconds by how much the time of day is off from here on */
function jump(seconds: number): void {
  const before = Date.now()
  writeSync(file, new BigInt64Array([BigInt(seconds)]), 0, 8, 0)
  if (Math.abs(Date.now() - before) > (DAY * 1000) / 2) jumps++
}

const witness = await Witness.start()
for (let i = 0; i < Number(times); i++) {
  for (const seconds of [DAY, -DAY, 0]) {
    jump(seconds)
    await witness.expectProgress()
    await witness.vm.pause()
    await witness.vm.resume()
  }
}
await witness.close()

// A guest that is asked to power off, and does not, is neither given up at once nor waited for until tomorrow.
for (const seconds of [DAY, -DAY]) {
  jump(0)
  const vm = await VirtualMachine.create({ kernel: kernel(halt), disks: [new MemoryDisk(4096)] })
  await vm.start()
  const before = process.hrtime.bigint()
  const ending = vm.shutdown({ timeout: LIMIT }).catch(({ code }) => code)
  jump(seconds)
  const outcome = await Promise.race([ending, sleep(limit(PATIENCE), 'no end', { ref: false })])
  const waited = Number((process.hrtime.bigint() - before) / 1_000_000n)
  process.stdout.write(`${outcome} ${waited > LIMIT / 2 ? 'in its time' : `after ${waited} ms`}\n`)
  await vm.close()
}
jump(0)
if (Math.abs(Date.now() - start) > (DAY * 1000) / 2) throw new Error('the time of day is off')
process.stdout.write(`${jumps} jumps\n`)
