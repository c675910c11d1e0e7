/** A benchmark: a script of this folder. */
export interface Benchmark {
  /** Whether it boots stock kernels. */
  readonly guest: boolean
  /** Seconds for a round; a benchmark that takes longer hangs. */
  readonly roundLimit: number
  /** Names of its figures: what is missing is told by them. */
  readonly figures: readonly string[]
}

const each = (names: readonly string[], ends: readonly string[]) =>
  names.flatMap((name) => ends.map((end) => `${name}${end}`))

const onBoth = (names: readonly string[]) => each(names, [', virtio-mmio', ', virtio-pci'])

const onEachCount = (names: readonly string[]) =>
  each(
    names,
    [1, 2, 4, 8, 16, 32].map((count) => `, ${count} VM${count === 1 ? '' : 's'}`),
  )

export const BENCHMARKS: Readonly<Record<string, Benchmark>> = {
  boot: {
    guest: true,
    roundLimit: 600,
    figures: [
      ...onBoth(each(['process start to init'], [', 1 vCPU', ', 2 vCPU'])),
      'create in a warm process to init',
    ],
  },
  rootfs: {
    guest: true,
    roundLimit: 200,
    figures: [
      'image of a root file system, a folder with busybox',
      'create in a warm process to the first result, --rootfs',
    ],
  },
  console: { guest: true, roundLimit: 300, figures: ['console output'] },
  disk: {
    guest: true,
    roundLimit: 500,
    figures: onBoth([
      ...each(['4 KiB random read', '4 KiB random write'], [', QD 1', ', QD 32']),
      ...each(['128 KiB sequential '], ['read', 'write']),
      'CPU seconds of the process for a fixed I/O job',
    ]),
  },
  net: {
    guest: true,
    roundLimit: 500,
    figures: onBoth([
      ...each(['iperf3 guest to host', 'iperf3 host to guest'], [', 1 stream', ', 4 streams']),
      'ping round trip',
      'TCP round trip of 1 byte',
    ]),
  },
  vsock: {
    guest: true,
    roundLimit: 300,
    figures: each(['vsock stream, '], ['guest to host', 'host to guest']),
  },
  memory: {
    guest: true,
    roundLimit: 300,
    figures: [
      'memory of the process with its first VM',
      'memory of each further VM in the process',
    ],
  },
  exits: {
    guest: false,
    roundLimit: 120,
    figures: each(
      [
        'latched read',
        'posted write',
        'synchronous read, spinning',
        'synchronous read, asleep',
        'synchronous read, rare',
        'vcpu.run()',
      ],
      [', p50', ', p99'],
    ),
  },
  'exit-rate': {
    guest: false,
    roundLimit: 60,
    figures: each(
      ['exits answered by JavaScript', 'exits answered by a latch'],
      [', 1 vCPU', ', 2 vCPU', ', 4 vCPU'],
    ),
  },
  isolation: {
    guest: false,
    roundLimit: 60,
    figures: [
      'start of an isolated machine, to its first byte',
      'exits answered by JavaScript, isolated',
      ...each(['4 KiB read, QD 1', '128 KiB read, QD 1'], [', isolated']),
      "128 KiB read of the program's own disk, isolated",
      'frames of 1514 bytes to a switch, isolated',
    ],
  },
  'event-loop': {
    guest: true,
    roundLimit: 200,
    figures: [
      ...each(['event-loop delay with disk and NIC saturated'], [', p50', ', p99', ', longest']),
      '4 KiB random read, QD 32, meanwhile',
      'iperf3 both ways together, meanwhile',
    ],
  },
  growth: {
    guest: true,
    roundLimit: 1200,
    figures: onEachCount([
      'memory per VM',
      'threads per VM',
      'descriptors per VM',
      'create',
      'start to ready',
      'idle CPU per VM',
      'idle wake-ups per VM',
      '4 KiB reads of all VMs together',
      'streams to the host of all VMs together',
      'reads of the slowest VM',
      'stream of the slowest VM',
      'event-loop delay meanwhile, p99',
    ]),
  },
  'growth-rings': {
    guest: false,
    roundLimit: 240,
    figures: onEachCount([
      'tiny guests: reads and frames of all together',
      "tiny guests: event loop's CPU time for each",
      "tiny guests: event loop's CPU time",
      'tiny guests: slowest VM',
      'tiny guests: event-loop delay, p99',
      ...each(
        ['spinning guests', 'spinning guests, cpuNice 19'],
        [': reads of all together', ': event-loop delay, p99'],
      ),
      'halted guests: wake-ups of the event loop',
      "halted guests: event loop's CPU time",
    ]),
  },
  'kvm-lifecycle': {
    guest: false,
    roundLimit: 300,
    figures: [
      'create and destroy a VM',
      ...each(['growth over 10,000 VMs'], [', descriptors', ', threads', ', memory']),
    ],
  },
  ring: {
    guest: false,
    roundLimit: 120,
    figures: [1, 32, 128].map((depth) => `ring to file, QD ${depth}`),
  },
}
