/**
 * What machines cost the event loop that they share as they get more: 1 to 32 tiny guests in one process, each of which
 * reads from its disk and sends frames to its TAP interface without pause, halting until both are done; guests that spin until
 * then; and guests that have halted for good.
 */
import { readFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { FileDisk, Tap, VirtualMachine, type VirtualMachineOptions } from '../lib/index.js'
import { print, quick, rounds } from './lib/cli.js'
import { type Figure, figure, interleaveNamed } from './lib/figure.js'
import { diskAndNetGuest, readingGuest, sayingGuest } from './lib/ring-guest.js'
import { ScratchFolder } from './lib/scratch.js'

const COUNTS = quick ? [1, 2] : [1, 2, 4, 8, 16, 32]
const MILLISECONDS = quick ? 100 : 2000

/** Guests that wait for their reads by looking, so that they never give a processor back. */
const spinning = () => readingGuest(4096)
const NICE = 19

using folder = new ScratchFolder()
const image = folder.file('image', 1)

const create = (guest: VirtualMachineOptions) =>
  VirtualMachine.create({
    ...guest,
    disks: [new FileDisk(image, { readOnly: true })],
    nets: [new Tap('nkb%d', { create: true })],
  })

/** Operations that a machine's devices have done: reads and frames. */
const operations = (vm: VirtualMachine) =>
  vm.disks[0]!.counters.reads + vm.nets[0]!.counters.txFrames

const status = () => readFileSync('/proc/thread-self/status', 'utf8')

/** CPU time of this thread, in microseconds: the first of the kernel's sched_info. */
const threadCpu = () =>
  Number(readFileSync('/proc/thread-self/schedstat', 'utf8').split(' ')[0]) / 1000

async function measure(
  count: number,
  options: () => VirtualMachineOptions,
): Promise<ReadonlyMap<string, number>> {
  const machines: VirtualMachine[] = []
  try {
    while (machines.length < count) machines.push(await create(options()))
    for (const vm of machines) await vm.start()
    await sleep(MILLISECONDS / 4)
    const before = machines.map(operations)
    const cpu = threadCpu()
    const begin = performance.now()
    const delay = monitorEventLoopDelay({ resolution: 1 })
    delay.enable()
    await sleep(MILLISECONDS)
    delay.disable()
    const seconds = (performance.now() - begin) / 1000
    const spent = threadCpu() - cpu
    const done = machines.map((vm, i) => operations(vm) - before[i]!)
    const sum = done.reduce((all, each) => all + each, 0)
    return new Map([
      ['rate', sum / seconds],
      ['cpu', spent / sum],
      ['busy', spent / 1e4 / seconds],
      ['least', Math.min(...done) / (sum / count)],
      ['delay', delay.percentile(99) / 1e6],
    ])
  } finally {
    for (const vm of machines) await vm.close()
  }
}

/** The same machines with nothing to do: a guest that has halted for good. */
async function idle(count: number): Promise<ReadonlyMap<string, number>> {
  const machines: VirtualMachine[] = []
  const sleeps = () => Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status())![1])
  try {
    while (machines.length < count) machines.push(await create(sayingGuest))
    for (const vm of machines) await vm.start()
    await sleep(MILLISECONDS / 4)
    const cpu = threadCpu()
    const before = sleeps()
    const begin = performance.now()
    await sleep(MILLISECONDS)
    const seconds = (performance.now() - begin) / 1000
    return new Map([
      ['sleeps', (sleeps() - before) / seconds],
      ['cpu', (threadCpu() - cpu) / 1000 / seconds],
    ])
  } finally {
    for (const vm of machines) await vm.close()
  }
}

const figures: Figure[] = []
const samples = await interleaveNamed(
  rounds(3),
  COUNTS.flatMap((count) => [
    () => measure(count, diskAndNetGuest),
    () => measure(count, spinning),
    () => measure(count, () => ({ ...spinning(), cpuNice: NICE })),
    () => idle(count),
  ]),
)
for (const [i, count] of COUNTS.entries()) {
  const [busy, never, nice, halted] = samples.slice(4 * i)
  const report = (title: string, unit: string, of: typeof busy, name: string) =>
    figures.push(
      figure(`${title}, ${count} VM${count === 1 ? '' : 's'}`, unit, undefined, of!(name)),
    )
  report('tiny guests: reads and frames of all together', 'operations/s', busy, 'rate')
  report("tiny guests: event loop's CPU time for each", 'µs', busy, 'cpu')
  report("tiny guests: event loop's CPU time", '%', busy, 'busy')
  report('tiny guests: slowest VM', 'of the mean', busy, 'least')
  report('tiny guests: event-loop delay, p99', 'ms', busy, 'delay')
  for (const [title, of] of [
    ['spinning guests', never],
    [`spinning guests, cpuNice ${NICE}`, nice],
  ] as const) {
    report(`${title}: reads of all together`, 'operations/s', of, 'rate')
    report(`${title}: event-loop delay, p99`, 'ms', of, 'delay')
  }
  report('halted guests: wake-ups of the event loop', '1/s', halted, 'sleeps')
  report("halted guests: event loop's CPU time", 'ms/s', halted, 'cpu')
}
print(figures)
