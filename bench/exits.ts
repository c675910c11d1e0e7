/**
 * What one exit costs the guest, by how it is served, against a loop of KVM_RUN in C. The guest reads its time stamp
 * counter around each port access and keeps the differences.
 *
 * `node dist/bench/exits.js [--json] [--rounds N]`
 */

import { execFileSync } from 'node:child_process'
import { Bus } from '../lib/bus/bus.js'
import type { Shortcuts } from '../lib/bus/bus-device.js'
import { KVM_EXIT_HLT, KVM_EXIT_INTR } from '../lib/kvm/abi/exits.js'
import type { VcpuFd } from '../lib/kvm/vcpu-fd.js'
import { RunLoop } from '../lib/machine/run-loop.js'
import { le16, le32 } from '../lib/util/bits.js'
import { BARE_MEMORY, withVcpus } from './lib/bare-vcpus.js'
import { print, rounds } from './lib/cli.js'
import { type Figure, figure, percentile, type Target } from './lib/figure.js'
import { nativeProgram } from './lib/native-program.js'

const SAMPLES = 0x20000
const MAX_COUNT = 16_000
const END = SAMPLES + 4 * MAX_COUNT
/** The share of the first exits, which find cold caches and JavaScript that is not compiled. */
const WARM_UP = 1 / 8

const rdtsc = [0x0f, 0x31]
const inAl = [0xe4, 0x10]
const outAl = [0xe6, 0x10]
/** 16-bit code that stores the cycles of `access`, `count` times. Between two it counts down from `gap`. */
function guest(access: readonly number[], count = MAX_COUNT, gap = 0): number[] {
  const wait = gap === 0 ? [] : [0x66, 0xbb, ...le32(gap), 0x66, 0x4b, 0x75, 0xfc]
  const body = [
    ...[...wait, ...rdtsc],
    ...[0x66, 0x89, 0xc6], // mov esi, eax
    ...[...access, ...rdtsc],
    ...[0x66, 0x29, 0xf0], // sub eax, esi
    ...[0x66, 0xab], // stosd
    ...[0x66, 0x49], // dec ecx
  ]
  return [
    ...[0xb8, ...le16(SAMPLES >> 4), 0x8e, 0xc0], // mov es, SAMPLES / 16
    ...[0x31, 0xff], // xor di, di
    ...[0x66, 0xb9, ...le32(count)], // mov ecx, count
    ...body,
    ...[0x75, -(body.length + 2) & 0xff], // jnz
    0xf4,
  ]
}

const program = await nativeProgram('exit-loop')

/** Nanoseconds of each access, the warm-up left out. */
type Run = (code: readonly number[]) => Promise<number[]>

let nanosecondsPerCycle = 0

function nanoseconds(bytes: Uint8Array): number[] {
  const cycles = new Uint32Array(bytes.slice().buffer)
  const count = cycles.findLastIndex((value) => value !== 0) + 1
  return Array.from(cycles.subarray(count * WARM_UP, count), (value) => value * nanosecondsPerCycle)
}

const inC: Run = async (code) => {
  const hex = Buffer.from(code).toString('hex')
  return nanoseconds(execFileSync(program, [hex, BARE_MEMORY, SAMPLES, END].map(String)))
}

const withVcpu = (code: readonly number[], run: (vcpu: VcpuFd) => void | Promise<void>) =>
  withVcpus(code, 1, async ([vcpu], memory) => {
    nanosecondsPerCycle = 1e6 / vcpu!.getTscKhz()
    await run(vcpu!)
    return nanoseconds(memory.read(SAMPLES, END - SAMPLES))
  })

/** `vcpu.run()` in a loop on the JavaScript thread. */
const raw: Run = (code) =>
  withVcpu(code, (vcpu) => {
    const page = vcpu.runPage
    for (let reason = vcpu.run(); reason !== KVM_EXIT_HLT; reason = vcpu.run()) {
      if (reason !== KVM_EXIT_INTR && page.ioIsIn) page.setIoData(0)
    }
  })

/** A run loop with one device at the port. */
const threaded =
  (shortcuts: Shortcuts, spinMicroseconds: number): Run =>
  (code) =>
    withVcpu(code, async (vcpu) => {
      const pio = new Bus('pio')
      let written = 0
      pio.attach(0x10, 1, {
        name: 'bench',
        shortcuts,
        read: () => 0,
        write: () => void written++,
      })
      await new Promise<void>((resolve, reject) => {
        const loop = new RunLoop({
          pio,
          mmio: new Bus('mmio'),
          spinMicroseconds,
          onEnd: ({ kind, detail }) => {
            loop.close()
            if (kind === 'halted') resolve()
            else reject(new Error(detail))
          },
        })
        loop.addVcpu(vcpu)
        loop.run()
      })
    })

const latched = {
  latched: [0],
  latch: (_offset: number, latch: { set(value: number): void }) => latch.set(0),
}
/** Turns of an empty loop, long enough for both sides to fall asleep. */
const IDLE_GAP = 2_000

interface Case {
  name: string
  run: Run
  code: number[]
  target?: Target
}
const ratioAtMost = (value: number): Target => ({ of: 'ratio', bound: 'at most', value })
const cases: Case[] = [
  {
    name: 'latched read',
    run: threaded(latched, 50),
    code: guest(inAl),
    target: ratioAtMost(1.03),
  },
  {
    name: 'posted write',
    run: threaded({ posted: [0] }, 50),
    code: guest(outAl),
    target: ratioAtMost(1.03),
  },
  {
    name: 'synchronous read, spinning',
    run: threaded({}, 50),
    code: guest(inAl),
    target: ratioAtMost(1.15),
  },
  { name: 'synchronous read, asleep', run: threaded({}, 0), code: guest(inAl) },
  { name: 'synchronous read, rare', run: threaded({}, 50), code: guest(inAl, 800, IDLE_GAP) },
  { name: 'vcpu.run()', run: raw, code: guest(inAl), target: ratioAtMost(1.05) },
]

async function measure(runs: number): Promise<Figure[]> {
  await raw(guest(inAl)) // for the time stamp counter's rate
  const ours = cases.map(() => ({ p50: [] as number[], p99: [] as number[] }))
  const peers = cases.map(() => ({ p50: [] as number[], p99: [] as number[] }))
  // In turn, so that a slow minute of the machine falls on all of them.
  for (let round = 0; round < runs; round++) {
    for (const [i, { run, code }] of cases.entries()) {
      for (const [samples, runs] of [
        [await run(code), ours[i]!],
        [await inC(code), peers[i]!],
      ] as const) {
        runs.p50.push(percentile(samples, 50) / 1000)
        runs.p99.push(percentile(samples, 99) / 1000)
      }
    }
  }
  return cases.flatMap(({ name, target }, i) =>
    (['p50', 'p99'] as const).map((p) =>
      figure(`${name}, ${p}`, 'µs', p === 'p50' ? target : undefined, ours[i]![p], {
        name: 'KVM_RUN in C',
        samples: peers[i]![p],
      }),
    ),
  )
}

print(await measure(rounds(5)))
