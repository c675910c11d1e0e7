import { readdirSync, readFileSync } from 'node:fs'
import { availableParallelism, getPriority } from 'node:os'
import { describe, expect, it } from 'vitest'
import { FEATURES } from '../../lib/arch/x86-64/cpu-features.js'
import { hasFeature } from '../../lib/arch/x86-64/cpu-models.js'
import { VirtualMachine, type VirtualMachineOptions } from '../../lib/index.js'
import { Kvm } from '../../lib/kvm.js'
import { le32 } from '../../lib/util/bits.js'
import * as guest from './tiny-guest.js'

const create = (options: Partial<VirtualMachineOptions>, ...code: number[][]) =>
  VirtualMachine.create({ kernel: guest.kernel(...code), memory: '32M', ...options })

const supported = Kvm.open().getSupportedCpuid()
/** mov $leaf, %eax; xor %ecx, %ecx; cpuid; to memory: eax, ebx, ecx, edx. */
const cpuid = (leaf: number, address: number) => [
  ...[0xb8, ...le32(leaf), 0x31, 0xc9, 0x0f, 0xa2],
  ...[0x89, 0x04, 0x25, ...le32(address), 0x89, 0x1c, 0x25, ...le32(address + 4)],
  ...[0x89, 0x0c, 0x25, ...le32(address + 8), 0x89, 0x14, 0x25, ...le32(address + 12)],
]
const PLACE = 0x180_0000

async function seen(options: Partial<VirtualMachineOptions>, leaf: number) {
  await using vm = await create(options, cpuid(leaf, PLACE), guest.powerOff)
  await vm.start()
  await vm.stopped
  return [...new Uint32Array(vm.memory.read(PLACE, 16).buffer)]
}

describe('cpu', () => {
  it('is what the guest sees', async () => {
    const [, , features] = await seen({ cpu: 'host' }, 1)
    expect(features! >>> 31).toBe(1)
    const off = { hypervisor: false, kvm_steal_time: false }
    const [, , fewer] = await seen({ cpu: { features: off } }, 1)
    expect(fewer! >>> 31).toBe(0)
    const [kvm] = await seen({ cpu: { features: off } }, 0x4000_0001)
    expect((kvm! >>> 5) & 1).toBe(0)
  })

  it('may be a baseline', async () => {
    const [signature] = await seen({ cpu: 'x86-64-v1' }, 1)
    expect([0x60fb1, 0x6fb]).toContain(signature)
    const [maximum] = await seen({ cpu: { model: 'x86-64-v1' } }, 0)
    expect(maximum).toBe(0xd)
  })

  it('is refused by name where the host lacks features', async () => {
    const lacking = [...FEATURES.keys()].find(
      (name) => !hasFeature(supported, name) && name !== 'tsc_deadline_timer',
    )!
    await expect(create({ cpu: { features: { [lacking]: true } } })).rejects.toMatchObject({
      code: 'ERR_INVALID_OPTION',
      option: 'cpu',
      message: expect.stringContaining(`${lacking} it has not`),
    })
  })

  it.each([
    ['x86-64-v5', 'cpu'],
    [{ model: 'x' }, 'cpu.model'],
    [{ features: { turbo: true } }, 'cpu.features.turbo'],
    [{ features: { avx: 1 } }, 'cpu.features.avx'],
    [{ features: [] }, 'cpu.features'],
    [{ name: 'host' }, 'cpu.name'],
    [4, 'cpu'],
  ])('%j is refused', async (cpu, option) => {
    await expect(create({ cpu: cpu as never })).rejects.toMatchObject({
      code: 'ERR_INVALID_OPTION',
      option,
    })
  })
})

/** The vCPU threads of this process by name, with the host CPUs they may run on. */
function threads(): Map<string, string> {
  const status = (id: string) => readFileSync(`/proc/self/task/${id}/status`, 'utf8')
  const of = (text: string, name: string) => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(text)![1]!
  return new Map(
    readdirSync('/proc/self/task')
      .map(status)
      .map((text) => [of(text, 'Name'), of(text, 'Cpus_allowed_list')] as const)
      .filter(([name]) => name.startsWith('vcpu')),
  )
}

describe('cpuNice', () => {
  /** Names of this process's threads with their nice values: proc_pid_stat(5), field 19. */
  const nices = () =>
    readdirSync('/proc/self/task').map((task) => {
      const [, name, rest] = /\((.*)\) (.*)/s.exec(
        readFileSync(`/proc/self/task/${task}/stat`, 'utf8'),
      )!
      return [name!, Number(rest!.split(' ')[16])] as const
    })
  const isVcpu = ([name]: readonly [string, number]) => name.startsWith('vcpu')

  it("is added to that of the vCPUs' threads, and of no others", async () => {
    await using vm = await create({ cpus: 2, cpuNice: 2 })
    const own = getPriority()
    const theirs = Math.min(own + 2, 19) // The kernel's most.
    expect(vm.config.cpuNice).toBe(2)
    // Threads set it themselves, as they begin.
    await expect
      .poll(() =>
        nices()
          .filter(isVcpu)
          .map(([, nice]) => nice),
      )
      .toEqual([theirs, theirs])
    expect(nices().find((one) => !isVcpu(one))).toEqual([expect.any(String), own])
  })
})

describe('cpuAffinity', () => {
  it('pins the threads of the vCPUs, which have names', async () => {
    await using vm = await create({ cpus: 3, cpuAffinity: [[0], [], [0]] })
    const all = readFileSync('/proc/self/status', 'utf8').match(/^Cpus_allowed_list:\s*(.*)$/m)![1]!
    expect(vm.config.cpus).toBe(3)
    expect(threads()).toEqual(
      new Map([
        ['vcpu0', '0'],
        ['vcpu1', all],
        ['vcpu2', '0'],
      ]),
    )
  })

  it.each([
    [[[0]], 'cpuAffinity'],
    [[[0], [1024]], 'cpuAffinity[1][0]'],
    [[[0], 1], 'cpuAffinity[1]'],
    ['0', 'cpuAffinity'],
    [[[], [availableParallelism() + 500]], 'cpuAffinity[1]'],
  ])('%j is refused', async (cpuAffinity, option) => {
    await expect(create({ cpus: 2, cpuAffinity: cpuAffinity as never })).rejects.toMatchObject({
      code: 'ERR_INVALID_OPTION',
      option,
    })
    expect(threads().size).toBe(0)
  })
})

it('sixteen vCPUs are made, and run', async () => {
  await using vm = await create({ cpus: 16 }, guest.powerOff)
  await vm.start()
  expect(await vm.stopped).toEqual({ kind: 'shutdown' })
  expect(vm.stats().vcpus).toHaveLength(16)
})
