import type { BusDevice } from '../../devices.js'
import { VirtualMachine } from '../../index.js'
import { type BenchFigure, figureOf } from './figures.js'

const PORT = 0x500
/** Registers of the device: one by which the guest says where it is, and one for each way to be answered. */
const MARK = 0
const WAYS = [
  ['exits per second, answered by the vCPU thread', 1, 'in'],
  ['exits per second, writes that wait for nobody', 2, 'out'],
  ['exits per second, answered by JavaScript', 3, 'in'],
] as const

const dword = (value: number) => [...new Uint8Array(Uint32Array.of(value).buffer)]
const toPort = (register: number) => [0xba, ...dword(PORT + register)] // mov $port, %edx
const inAl = [0xec] // in %dx, %al
const outAl = [0xee] // out %al, %dx

/** 64-bit code that reads the mark, makes `count` accesses, reads the mark, and resets the machine. */
function program(register: number, access: readonly number[], count: number): Uint8Array {
  return Uint8Array.from([
    ...[...toPort(MARK), ...inAl],
    ...[...toPort(register), 0xb9, ...dword(count)], // mov $count, %ecx
    ...[...access, 0xff, 0xc9, 0x75, -(access.length + 4)], // 1: …; dec %ecx; jnz 1b
    ...[...toPort(MARK), ...inAl],
    ...[0xb0, 0xfe, 0xe6, 0x64, 0xeb, 0xfe], // mov $0xfe, %al; out %al, $0x64; jmp .
  ])
}

class Counter implements BusDevice {
  readonly name = 'bench'
  readonly shortcuts = {
    latched: [1],
    posted: [2],
    latch: (_offset: number, latch: { set(value: number): void }) => latch.set(0),
  }
  /** Milliseconds at which the guest has read the mark. */
  readonly marks: number[] = []

  read(offset: number): number {
    if (offset === MARK) this.marks.push(performance.now())
    return 0
  }

  write(): void {}
}

/** Runs a guest of a few instructions to its end. */
async function run(kernel: Uint8Array, device: BusDevice): Promise<void> {
  await using vm = await VirtualMachine.create({
    kernel,
    flatBinary: { mode: 'long' },
    attach: [{ device, port: PORT, size: 4 }],
    memory: '64M',
    // Whatever is usual here: what is measured is a device of this process.
    isolation: 'none',
  })
  await vm.start()
  const reason = await vm.stopped
  if (reason.kind === 'error') throw reason.error
}

/** How often a second a guest can leave guest mode, by who answers it. Any KVM will do. */
export async function measureExits(quick: boolean): Promise<BenchFigure[]> {
  const [count, runs] = quick ? [5000, 2] : [100_000, 5]
  const figures: BenchFigure[] = []
  for (const [name, register, kind] of WAYS) {
    const kernel = program(register, kind === 'in' ? inAl : outAl, count)
    const samples: number[] = []
    for (let i = 0; i < runs; i++) {
      const device = new Counter()
      await run(kernel, device)
      const [start = 0, end = 0] = device.marks
      samples.push(count / ((end - start) / 1000))
    }
    figures.push(figureOf(name, 'per s', samples))
  }
  return figures
}

/** How long it takes to have a machine. Any KVM will do. */
export async function measureStart(quick: boolean): Promise<BenchFigure[]> {
  const samples: number[] = []
  for (let i = 0; i < (quick ? 3 : 20); i++) {
    const started = performance.now()
    await run(program(3, inAl, 1), new Counter())
    samples.push(performance.now() - started)
  }
  return [figureOf('create a machine, run ten instructions, close it', 'ms', samples)]
}
