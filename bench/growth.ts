/** What machines cost as they get more: 1 to 32 in one process, each with a disk and a network card. */
import { FileDisk, Tap } from '../lib/index.js'
import { print, quick } from './lib/cli.js'
import { type Figure, figure } from './lib/figure.js'
import { execParameter, networkGuest } from './lib/guest-assets.js'
import { GuestHere } from './lib/guest-here.js'
import { memoryBesidesGuest } from './lib/process-memory.js'
import { ScratchFolder } from './lib/scratch.js'

const COUNTS = quick ? [1, 2] : [1, 2, 4, 8, 16, 32]
const MEMORY = 80 * 2 ** 20
const DISK_MIB = 8
/** Of 4 KiB, from each guest's disk. */
const READS = quick ? 50 : 1000
const PINGS = quick ? 5 : 50
const IDLE_MS = 2000

/** Does what is typed, a line at a time. Nothing is echoed, so that what is asked is not taken for an answer. */
const script = 'stty -echo; echo READY; while read -r line; do eval "$line"; done'

interface Member {
  readonly guest: GuestHere
  readonly host: string
}

using folder = new ScratchFolder()
const members: Member[] = []
const spec = await networkGuest('')

/** Seconds of creation, and until it is ready. */
async function add(): Promise<{ create: number; ready: number }> {
  const i = members.length
  const host = `10.220.${i}.1`
  const parameters = `nodekvm.ip=10.220.${i}.2/24 ${execParameter(script)}`
  const start = performance.now()
  const guest = await GuestHere.create(spec, {
    commandLine: `${spec.commandLine} ${parameters}`,
    memory: MEMORY,
    disks: [new FileDisk(folder.file(`disk${i}.img`, DISK_MIB))],
    nets: [new Tap('nkb%d', { create: true, address: `${host}/24` })],
  })
  members.push({ guest, host })
  await guest.vm.start()
  const create = (performance.now() - start) / 1000
  await guest.said('READY', 300)
  return { create, ready: (performance.now() - start) / 1000 }
}

let asked = 0
/** Seconds until every guest has done the same. */
async function all(command: (member: Member) => string): Promise<number> {
  const mark = `DONE-${++asked}-`
  const start = performance.now()
  for (const member of members)
    member.guest.vm.console.input.write(`${command(member)}; echo ${mark}\n`)
  await Promise.all(members.map(({ guest }) => guest.said(mark, 300)))
  return (performance.now() - start) / 1000
}

async function idle(): Promise<{ cpu: number; wakeups: number }> {
  const before = process.cpuUsage()
  const switches = process.resourceUsage().voluntaryContextSwitches
  const start = performance.now()
  await new Promise((resolve) => setTimeout(resolve, IDLE_MS))
  const seconds = (performance.now() - start) / 1000
  const { user, system } = process.cpuUsage(before)
  const more = process.resourceUsage().voluntaryContextSwitches - switches
  return { cpu: (user + system) / 1000 / seconds, wakeups: more / seconds }
}

const figures: Figure[] = []
const report = (title: string, count: number, unit: string, value: number) =>
  figures.push(figure(`${title}, ${count} VM${count === 1 ? '' : 's'}`, unit, undefined, [value]))

/** Goes on from the machines that there are to `count`. */
async function measure(count: number): Promise<void> {
  const creates: number[] = []
  const readies: number[] = []
  while (members.length < count) {
    const { create, ready } = await add()
    creates.push(create)
    readies.push(ready)
  }
  const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length
  globalThis.gc?.()
  const memory = memoryBesidesGuest('self', MEMORY) / 1024
  const { cpu, wakeups } = await idle()
  const disk = await all(
    () => `dd if=/dev/vda of=/dev/null bs=4k count=${READS} iflag=direct 2>/dev/null`,
  )
  const net = await all(({ host }) => `ping -q -c ${PINGS} -i 0.002 ${host} >/dev/null`)
  report('memory per VM', count, 'MiB', memory / count)
  report('create and start', count, 'ms', mean(creates) * 1000)
  report('start to ready', count, 's', mean(readies))
  report('idle CPU per VM', count, 'ms/s', cpu / count)
  report('idle wake-ups per VM', count, '1/s', wakeups / count)
  report('4 KiB reads of all VMs together', count, 'operations/s', (count * READS) / disk)
  report('pings of all VMs together', count, '1/s', (count * PINGS) / net)
  process.stderr.write(`  ${count} machines\n`)
}

try {
  for (const count of COUNTS) await measure(count)
} catch (error) {
  // A guest that ended: what was measured with fewer holds, and what is missing is named.
  process.stderr.write(`  no more than ${members.length} machines: ${(error as Error).message}\n`)
} finally {
  await Promise.all(members.map(({ guest }) => guest.vm.close()))
}
print(figures)
