/** What a process of its own costs a machine: `isolation: 'process'` against the same in this process. */
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { BlockBackend } from '../lib/backends/block/block-backend.js'
import {
  CustomDisk,
  FileDisk,
  VirtualMachine,
  type VirtualMachineOptions,
  VirtualSwitch,
} from '../lib/index.js'
import { print, quick, rounds } from './lib/cli.js'
import { figure, interleave, type Target } from './lib/figure.js'
import { portGuest, readingGuest, sayingGuest, sendingGuest } from './lib/ring-guest.js'
import { ScratchFolder } from './lib/scratch.js'

const MILLISECONDS = quick ? 100 : 1000
const SMALL = 4096
const LARGE = 2 ** 17
/** The RTC's data: no latch answers. */
const CMOS_DATA = 0x71

type Kind = NonNullable<VirtualMachineOptions['isolation']>
type Measurement = (isolation: Kind) => Promise<number>

const start: Measurement = async (isolation) => {
  const begin = performance.now()
  await using vm = await VirtualMachine.create({ ...sayingGuest, isolation })
  await vm.start()
  await once(vm.console.output, 'data')
  return performance.now() - begin
}

/** So many of what `count` counts in a second. */
const rate =
  (options: () => VirtualMachineOptions, count: (vm: VirtualMachine) => number): Measurement =>
  async (isolation) => {
    await using vm = await VirtualMachine.create({ ...options(), isolation })
    await vm.start()
    await sleep(MILLISECONDS / 5)
    await vm.pause()
    const before = count(vm)
    const begin = performance.now()
    await vm.resume()
    await sleep(MILLISECONDS)
    await vm.pause()
    return ((count(vm) - before) * 1000) / (performance.now() - begin)
  }

const reads = (vm: VirtualMachine) => vm.disks[0]!.counters.reads
const frames = (vm: VirtualMachine) => vm.nets[0]!.counters.txFrames
const megabytes = (vm: VirtualMachine) => (reads(vm) * LARGE) / 1e6

using folder = new ScratchFolder()
const image = folder.file('image', 1)
const file = (): BlockBackend => new FileDisk(image, { readOnly: true })
const bytes = new Uint8Array(2 ** 20)
const own = (): BlockBackend =>
  new CustomDisk({
    size: bytes.length,
    read: async (at, length) => bytes.subarray(at, at + length),
  })
const network = () => new VirtualSwitch().port()
const reading = (length: number, disk: () => BlockBackend) => () => ({
  ...readingGuest(length),
  disks: [disk()],
})

const near: Target = { of: 'ratio', bound: 'at least', value: 0.9 }
const cases: readonly [name: string, unit: string, target: Target | undefined, Measurement][] = [
  ['start of an isolated machine, to its first byte', 'ms', undefined, start],
  [
    'exits answered by JavaScript, isolated',
    'exits/s',
    near,
    rate(
      () => portGuest(CMOS_DATA),
      (vm) => vm.stats().vcpus[0]!.synchronous,
    ),
  ],
  ['4 KiB read, QD 1, isolated', 'operations/s', near, rate(reading(SMALL, file), reads)],
  ['128 KiB read, QD 1, isolated', 'MB/s', near, rate(reading(LARGE, file), megabytes)],
  [
    "128 KiB read of the program's own disk, isolated",
    'MB/s',
    undefined,
    rate(reading(LARGE, own), megabytes),
  ],
  [
    'frames of 1514 bytes to a switch, isolated',
    'frames/s',
    undefined,
    rate(() => ({ ...sendingGuest(), nets: [network()] }), frames),
  ],
]
const samples = await interleave(
  rounds(5),
  cases.flatMap(([, , , measure]) => [() => measure('process'), () => measure('none')]),
)
print(
  cases.map(([name, unit, target], i) =>
    figure(name, unit, target, samples[2 * i]!, {
      name: 'the same in this process',
      samples: samples[2 * i + 1]!,
    }),
  ),
)
