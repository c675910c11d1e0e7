/**
 * What a VM with an irqchip, one memory slot and one vCPU costs to create and destroy, against the same in C; and what
 * thousands of them leave behind.
 */
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { createGuestMemory, Kvm } from '../lib/kvm.js'
import { print, rounds } from './lib/cli.js'
import { figure, interleave, median } from './lib/figure.js'
import { nativeProgram } from './lib/native-program.js'

const CYCLES = 300
const GROWTH_CYCLES = 10_000
const MEMORY = 1 << 20

const program = await nativeProgram('lifecycle')

function cycle(kvm: Kvm): void {
  const vm = kvm.createVm()
  vm.createIrqchip()
  const memory = createGuestMemory([{ guestAddress: 0, size: MEMORY }])
  memory.register(vm)
  const vcpu = vm.createVcpu(0)
  vcpu.close()
  vm.close()
  memory.close()
}

function inTypeScript(): number {
  const start = process.hrtime.bigint()
  for (let i = 0; i < CYCLES; i++) cycle(kvm)
  return Number(process.hrtime.bigint() - start) / 1000 / CYCLES
}

const inC = () => Number(execFileSync(program, [String(CYCLES)])) / 1000 / CYCLES

/** What this process holds now: descriptors, threads, and KiB of memory. */
function holdings(): { fds: number; threads: number; memory: number } {
  globalThis.gc?.()
  const status = readFileSync('/proc/self/status', 'utf8')
  const field = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1])
  return {
    fds: readdirSync('/proc/self/fd').length,
    threads: field('Threads'),
    memory: field('RssAnon'),
  }
}

async function repeat(cycles: number): Promise<void> {
  for (let i = 0; i < cycles; i++) {
    cycle(kvm)
    if (i % 100 === 0) await new Promise((resolve) => setImmediate(resolve))
    // Left alone, V8 would rather let its young generation grow than collect it.
    if (i % 500 === 0) globalThis.gc?.()
  }
  await new Promise((resolve) => setTimeout(resolve, 200))
}

/** The median of some moments: the size of a heap goes up and down by a megabyte or two from one to the next. */
async function usualHoldings() {
  const samples: ReturnType<typeof holdings>[] = []
  for (let i = 0; i < 7; i++) {
    await repeat(100)
    samples.push(holdings())
  }
  const of = (field: keyof (typeof samples)[0]) => median(samples.map((sample) => sample[field]))
  return { fds: of('fds'), threads: of('threads'), memory: of('memory') }
}

async function growth() {
  // The heap of the process takes thousands of cycles to find its size.
  await repeat(GROWTH_CYCLES / 2)
  const before = await usualHoldings()
  await repeat(GROWTH_CYCLES)
  const after = await usualHoldings()
  return {
    fds: after.fds - before.fds,
    threads: after.threads - before.threads,
    memory: Math.max(0, after.memory - before.memory) / 1024,
  }
}

using kvm = Kvm.open()
using _held = kvm.createVm()
inTypeScript()
const [ours, theirs] = await interleave(rounds(7), [async () => inTypeScript(), async () => inC()])
const grown = await growth()
const none = { of: 'ours', bound: 'at most', value: 0 } as const
const name = `growth over ${GROWTH_CYCLES.toLocaleString('en-US')} VMs`
print([
  figure('create and destroy a VM', 'µs', { of: 'ratio', bound: 'at most', value: 1.1 }, ours!, {
    name: 'the same in C',
    samples: theirs!,
  }),
  figure(`${name}, descriptors`, '', none, [grown.fds]),
  figure(`${name}, threads`, '', none, [grown.threads]),
  figure(`${name}, memory`, 'MiB', { of: 'ours', bound: 'at most', value: 4 }, [grown.memory]),
])
