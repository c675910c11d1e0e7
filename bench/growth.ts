/** What machines cost as they get more: 1 to 32 in one process, each with a disk and a network card. */
import { type ChildProcess, spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { FileDisk, Tap } from '../lib/index.js'
import { print, quick } from './lib/cli.js'
import { again, figure } from './lib/figure.js'
import { growthGuest, netPeer } from './lib/guest-assets.js'
import { GuestHere } from './lib/guest-here.js'
import { memoryBesidesGuest } from './lib/process-memory.js'
import { ScratchFolder } from './lib/scratch.js'

const COUNTS = quick ? [1, 2] : [1, 2, 4, 8, 16, 32]
const MEMORY = 80 * 2 ** 20
const DISK_MIB = 4
const IDLE_MS = 2000
/** How long all guests work at once. */
const SECONDS = quick ? 1 : 4
/** Seconds for a guest to come up, and to end its work besides {@link SECONDS}. */
const LIMIT = 120
const PORT = 7008

using folder = new ScratchFolder()
const guests: GuestHere[] = []
const spec = await growthGuest()

async function create(i: number): Promise<GuestHere> {
  const host = `10.220.${i}.1`
  return await GuestHere.create(spec, {
    // What cannot be there is not looked for: it is a guest's share of a small machine's time.
    commandLine: `${spec.commandLine} panic=-1 mitigations=off cryptomgr.notests -- 10.220.${i}.2 ${host} ${PORT}`,
    memory: MEMORY,
    transport: 'mmio',
    disks: [new FileDisk(folder.file(`disk${i}.img`, DISK_MIB))],
    nets: [new Tap('nkb%d', { create: true, address: `${host}/24` })],
  })
}

/** Seconds to create each, and seconds for each to be ready. */
async function add(count: number): Promise<{ create: number[]; ready: number[] }> {
  const first = guests.length
  const times = { create: [] as number[], ready: [] as number[] }
  for (let i = first; i < count; i++) {
    const start = performance.now()
    guests.push(await create(i))
    times.create.push((performance.now() - start) / 1000)
  }
  // As many at a time as there are processors: more would only wait for each other.
  const waiting = [...guests.keys()].slice(first)
  const boot = async () => {
    for (let i = waiting.shift(); i !== undefined; i = waiting.shift()) {
      const at = i
      const start = performance.now()
      await again(() => comeUp(at))
      times.ready.push((performance.now() - start) / 1000)
    }
  }
  await Promise.all(Array.from({ length: availableParallelism() }, boot))
  return times
}

/** A guest that ended, as one may in an emulated host, is replaced by another. */
async function comeUp(i: number): Promise<void> {
  if (guests[i]!.vm.state !== 'created') {
    await guests[i]!.vm.close()
    guests[i] = await create(i)
  }
  await guests[i]!.vm.start()
  await guests[i]!.said('READY', LIMIT)
}

async function idle(): Promise<{ cpu: number; wakeups: number }> {
  const before = process.cpuUsage()
  const switches = process.resourceUsage().voluntaryContextSwitches
  const start = performance.now()
  await sleep(IDLE_MS)
  const seconds = (performance.now() - start) / 1000
  const { user, system } = process.cpuUsage(before)
  const more = process.resourceUsage().voluntaryContextSwitches - switches
  return { cpu: (user + system) / 1000 / seconds, wakeups: more / seconds }
}

/** What each guest has done a second while all worked, and the event loop's delay, its 99th percentile, meanwhile. */
async function work(): Promise<{ reads: number[]; megabits: number[]; delay: number }> {
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  const done = guests.map(async (guest) => {
    const from = guest.output.length
    guest.vm.console.input.write(`go ${SECONDS}\n`)
    const end = /DONE (\d+) (\d+)\r?\n/
    await guest.saying((output) => end.test(output.slice(from)), 'DONE', SECONDS + LIMIT)
    const [, reads, bytes] = end.exec(guest.output.slice(from))!
    return { reads: Number(reads) / SECONDS, megabits: (Number(bytes) * 8) / 1e6 / SECONDS }
  })
  const all = await Promise.all(done)
  delay.disable()
  return {
    reads: all.map(({ reads }) => reads),
    megabits: all.map(({ megabits }) => megabits),
    delay: delay.percentile(99) / 1e6,
  }
}

const sum = (values: readonly number[]) => values.reduce((all, value) => all + value, 0)
const mean = (values: readonly number[]) => sum(values) / values.length
/** 1 when all have the same. */
const fairness = (values: readonly number[]) => Math.min(...values) / mean(values)

/** Goes on from the machines that there are to `count`. */
async function measure(count: number): Promise<void> {
  const times = await add(count)
  globalThis.gc?.()
  const memory = memoryBesidesGuest('self', MEMORY) / 1024
  const threads = readdirSync('/proc/self/task').length
  const descriptors = readdirSync('/proc/self/fd').length
  const { cpu, wakeups } = await idle()
  const { reads, megabits, delay } = await work()
  const report = (title: string, unit: string, value: number) =>
    figure(`${title}, ${count} VM${count === 1 ? '' : 's'}`, unit, undefined, [value])
  print([
    report('memory per VM', 'MiB', memory / count),
    report('threads per VM', 'threads', threads / count),
    report('descriptors per VM', 'descriptors', descriptors / count),
    report('create', 'ms', mean(times.create) * 1000),
    report('start to ready', 's', mean(times.ready)),
    report('idle CPU per VM', 'ms/s', cpu / count),
    report('idle wake-ups per VM', '1/s', wakeups / count),
    report('4 KiB reads of all VMs together', 'operations/s', sum(reads)),
    report('streams to the host of all VMs together', 'Mbit/s', sum(megabits)),
    report('reads of the slowest VM', 'of the mean', fairness(reads)),
    report('stream of the slowest VM', 'of the mean', fairness(megabits)),
    report('event-loop delay meanwhile, p99', 'ms', delay),
  ])
  process.stderr.write(`  ${count} machines\n`)
}

const sink: ChildProcess = spawn(await netPeer(), ['sink', `${PORT}`], { stdio: 'inherit' })
try {
  await (await create(0)).vm.close() // what the process does once only
  for (const count of COUNTS) await measure(count)
} catch (error) {
  // What was measured with fewer holds, and what is missing is named.
  process.stderr.write(`  no more than ${guests.length} machines: ${(error as Error).message}\n`)
} finally {
  sink.kill('SIGKILL')
  await Promise.all(guests.map(({ vm }) => vm.close()))
}
