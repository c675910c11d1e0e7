import { expect, it } from 'vitest'
import { BOOT_CS } from '../../lib/arch/x86-64/gdt.js'
import { VirtualMachine, type VmWarning } from '../../lib/index.js'
import { le32 } from '../../lib/util/bits.js'
import { openFds } from '../helpers/process-state.js'
import { Witness } from '../hostile/witness.js'
import { powerOff } from '../machine/tiny-guest.js'
import { times } from './size.js'

const [CODE, HANDLER, IDT, IDTR, FAULTS, STACK] = [
  0x10_0000, 0x10_1000, 0x20_0000, 0x20_1000, 0x20_2000, 0x30_0000,
] as const
const GENERAL_PROTECTION = 13

/** Reads and writes `number` MSRs that no processor has, and asks for as many leaves of CPUID, all drawn at random. */
function draw(number: number, seed: number): number[] {
  const before = [
    ...[0xbc, ...le32(STACK)], // mov $STACK, %esp
    ...[0x0f, 0x01, 0x1c, 0x25, ...le32(IDTR)], // lidt IDTR
    ...[0xbf, ...le32(seed)], // mov $seed, %edi
    ...[0xbe, ...le32(number)], // mov $number, %esi
  ]
  const each = [
    ...[0x69, 0xff, ...le32(0x41c6_4e6d)], // imul $0x41c64e6d, %edi
    ...[0x81, 0xc7, ...le32(12_345)], // add $12345, %edi
    ...[0x89, 0xf9], // mov %edi, %ecx
    ...[0x81, 0xe1, ...le32(0x0fff_ffff)], // and $0x0fffffff, %ecx
    ...[0x81, 0xc9, ...le32(0x8000_0000)], // or $0x80000000, %ecx
    ...[0x0f, 0x32], // rdmsr
    ...[0x89, 0xf8, 0x89, 0xfa], // mov %edi, %eax; mov %edi, %edx
    ...[0x0f, 0x30], // wrmsr
    ...[0x89, 0xf8, 0x0f, 0xa2], // mov %edi, %eax; cpuid
    ...[0xff, 0xce], // dec %esi
  ]
  return [...before, ...each, 0x75, -(each.length + 2) & 0xff, ...powerOff]
}

/** Goes on after the instruction, of two bytes, that the processor refused. */
const handler = [
  ...[0x48, 0x83, 0xc4, 0x08], // add $8, %rsp
  ...[0x48, 0x83, 0x04, 0x24, 0x02], // addq $2, (%rsp)
  ...[0xff, 0x04, 0x25, ...le32(FAULTS)], // incl FAULTS
  ...[0x48, 0xcf], // iretq
]

it('PORT-10 MSRs that there are not and leaves of CPUID at random are the guest’s to bear', async () => {
  const witness = await Witness.start()
  const before = openFds()
  const number = times(1_000_000, 1000)
  await using vm = await VirtualMachine.create({
    kernel: Uint8Array.from(draw(number, 7)),
    flatBinary: { mode: 'long', address: CODE },
    memory: '16M',
  })
  const warnings: VmWarning[] = []
  vm.on('warning', (warning) => warnings.push(warning))
  const gate = vm.memory.dataView(IDT + 16 * GENERAL_PROTECTION, 16)
  gate.setUint32(0, (BOOT_CS << 16) | (HANDLER & 0xffff), true)
  gate.setUint32(4, (HANDLER & 0xffff_0000) | 0x8e00, true)
  vm.memory.dataView(IDTR, 10).setUint16(0, 16 * 32 - 1, true)
  vm.memory.dataView(IDTR, 10).setBigUint64(2, BigInt(IDT), true)
  vm.memory.write(HANDLER, Uint8Array.from(handler))
  await vm.start()
  expect(await vm.stopped).toEqual({ kind: 'shutdown' })
  expect(vm.memory.dataView(FAULTS, 4).getUint32(0, true)).toBe(2 * number)
  expect(warnings).toEqual([])
  await witness.expectProgress()
  await vm.close()
  expect(openFds()).toBeLessThanOrEqual(before)
  await witness.close()
})
