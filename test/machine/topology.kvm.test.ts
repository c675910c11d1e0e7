import { describe, expect, it } from 'vitest'
import { ACPI_PM_PORT, ACPI_START, LAPIC_START } from '../../lib/arch/x86-64/layout.js'
import { PM1_CNT, SLP_EN, SLP_TYP_S5 } from '../../lib/devices/legacy/acpi-pm.js'
import { VirtualMachine, type VirtualMachineOptions } from '../../lib/index.js'
import { le16 } from '../../lib/util/bits.js'
import * as guest from './tiny-guest.js'

const TRAMPOLINE = 0x8000
const ICR_LOW = LAPIC_START + 0x300
const ICR_HIGH = LAPIC_START + 0x310

/** Starts the processor with an APIC id by INIT and SIPI. */
const wake = (apicId: number) => [
  ...guest.store(ICR_HIGH, apicId << 24),
  ...guest.store(ICR_LOW, 0x4500),
  ...guest.store(ICR_HIGH, apicId << 24),
  ...guest.store(ICR_LOW, 0x4600 | (TRAMPOLINE >> 12)),
]

const create = (options: Partial<VirtualMachineOptions>, ...code: number[][]) =>
  VirtualMachine.create({ kernel: guest.kernel(...code), memory: '32M', ...options })

describe('topology', () => {
  it('gives every processor its APIC id', async () => {
    // The fourth of two sockets with three cores each: its id is not its number.
    const topology = { sockets: 2, cores: 3 }
    await using vm = await create({ topology }, wake(4))
    // In real mode: the APIC id by CPUID leaf 1, EBX[31:24], to the console, and power off.
    const code = [
      ...[0x66, 0xb8, 1, 0, 0, 0, 0x0f, 0xa2], // mov $1, %eax; cpuid
      ...[0x66, 0x89, 0xd8, 0x66, 0xc1, 0xe8, 24], // mov %ebx, %eax; shr $24, %eax
      ...[0xba, ...le16(0x3f8), 0xee], // mov $COM1, %dx; out %al, %dx
      ...[0xba, ...le16(ACPI_PM_PORT + PM1_CNT), 0xb8, ...le16(SLP_EN | (SLP_TYP_S5 << 10)), 0xef],
    ]
    vm.memory.write(TRAMPOLINE, Uint8Array.from(code))
    await vm.start()
    expect(await vm.stopped).toEqual({ kind: 'shutdown' })
    expect([...(vm.console.output.read() as Buffer)]).toEqual([4])
  })

  it('is in the ACPI tables', async () => {
    await using vm = await create({ topology: { sockets: 2, cores: 3 } }, guest.powerOff)
    const tables = Buffer.from(vm.memory.view(ACPI_START, 0x10000))
    const madt = tables.subarray(tables.indexOf('APIC'))
    const ids: number[] = []
    for (let at = 44; at < madt.readUInt32LE(4); at += madt[at + 1]!) {
      if (madt[at] === 0) ids.push(madt[at + 3]!)
    }
    expect(ids).toEqual([0, 1, 2, 4, 5, 6])
  })

  it('is refused where KVM has not as many ids', async () => {
    await expect(create({ topology: { sockets: 4096, cores: 4096 } })).rejects.toMatchObject({
      code: 'ERR_INVALID_OPTION',
      option: 'cpus',
    })
  })
})
