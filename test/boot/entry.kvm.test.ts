import { describe, expect, it } from 'vitest'
import { vcpuCpuid } from '../../lib/arch/x86-64/cpuid.js'
import {
  BOOT_GDT_START,
  BOOT_INFO_START,
  BOOT_PAGE_TABLES_START,
  COMMAND_LINE_START,
  ramRanges,
  ZERO_PAGE_START,
} from '../../lib/arch/x86-64/layout.js'
import { bootMsrs } from '../../lib/arch/x86-64/msrs.js'
import { flatBinary } from '../../lib/boot/flat.js'
import { KVM_EXIT_INTR, KVM_EXIT_IO, Kvm } from '../../lib/kvm.js'
import { enterAt } from '../../lib/machine/vcpu-setup.js'
import { createGuestMemory } from '../../lib/memory/mapping.js'
import { type BootOptions, boot, MIB } from '../helpers/boot.js'
import { bzImage, elfImage, pvhImage } from '../helpers/kernel-images.js'

const hex = (text: string) => Uint8Array.from(Buffer.from(text.replace(/\s+/g, ''), 'hex'))

/** Where the programs below leave what they saw. */
const SEEN = 0x5000

/**
 * Stores RSI, CS, SS, CR0, CR3, CR4 and GDTR, loads every segment anew from the GDT, then stores CPUID 1 and 0xB.1.
 * A KVM that cannot run unmodified guests gives none the GDT that it has set, so there the loads are left out.
 */
const LONG_MODE = hex(`
  48893425 00500000  8cc8 890425 08500000  8cd0 890425 0c500000
  0f20c0 48890425 10500000  0f20d8 48890425 18500000  0f20e0 48890425 20500000
  0f010425 30500000
  66833c25 30500000 00 7415
  b818000000 8ed8 8ed0  6a10 488d0503000000 50 48cb
  b801000000 0fa2 891c25 40500000 890c25 44500000
  b80b000000 b901000000 0fa2 890425 48500000 891c25 4c500000 891425 50500000
  e6f4`)

/** Stores EBX, ESI, CS, SS, CR0 and GDTR, loads every segment anew from the GDT, then stores what EBX points to. */
const PROTECTED_MODE = hex(`
  891d 00500000  8935 04500000  8cc8 a3 08500000  8cd0 a3 0c500000
  0f20c0 a3 10500000  0f0105 30500000
  b818000000 8ed8 8ed0  ea 39000001 1000
  8b03 a3 40500000  e6f4`)

/** Stores ESI, CS, SS and what comes back from the stack. */
const REAL_MODE = hex('8cc8 a30850 8cd0 a30a50 66893600 50 683412 58 a30c50 e6f4')

/** Boots `image` on a vCPU as far as its write to port 0xF4, and gives what it has stored. */
function run(
  image: Uint8Array,
  options: BootOptions = {},
  place = { vcpu: 0, vcpus: 1 },
): DataView {
  using kvm = Kvm.open()
  using vm = kvm.createVm()
  const memory = createGuestMemory(ramRanges(32 * MIB))
  try {
    memory.register(vm)
    const { entry } = boot(image, { ...options, memory })
    using vcpu = vm.createVcpu(place.vcpu)
    vcpu.setCpuid2(vcpuCpuid(kvm.getSupportedCpuid(), place))
    vcpu.setMsrs(bootMsrs())
    enterAt(vcpu, entry)
    let reason: number
    do reason = vcpu.run()
    while (reason === KVM_EXIT_INTR)
    expect(vcpu.runPage.exit()).toMatchObject({ reason: 'io', port: 0xf4 })
    expect(reason).toBe(KVM_EXIT_IO)
    return new DataView(memory.read(SEEN, 0x100).buffer)
  } finally {
    memory.close()
  }
}

describe('a vCPU enters', () => {
  it.each([
    ['a bzImage', bzImage({ code: LONG_MODE })],
    ['an ELF kernel', elfImage({ segments: [{ bytes: LONG_MODE }] })],
  ])('%s in long mode', (_, image) => {
    const seen = run(image)
    expect(seen.getBigUint64(0, true)).toBe(BigInt(ZERO_PAGE_START))
    expect(seen.getUint32(8, true)).toBe(0x10)
    expect(seen.getUint32(0xc, true)).toBe(0x18)
    expect(seen.getBigUint64(0x10, true) & 0x8000_0001n).toBe(0x8000_0001n)
    expect(seen.getBigUint64(0x18, true)).toBe(BigInt(BOOT_PAGE_TABLES_START))
    expect(seen.getBigUint64(0x20, true) & 0x20n).toBe(0x20n)
    const limit = seen.getUint16(0x30, true)
    expect([0, 0x2f]).toContain(limit)
    if (limit !== 0) expect(seen.getBigUint64(0x32, true)).toBe(BigInt(BOOT_GDT_START))
  })

  it.each([32, 64] as const)('a PVH kernel in a %i-bit ELF in protected mode', (bits) => {
    const seen = run(pvhImage({ bits, segments: [{ bytes: PROTECTED_MODE }] }))
    expect(seen.getUint32(0, true)).toBe(BOOT_INFO_START)
    expect(seen.getUint32(8, true)).toBe(0x10)
    expect(seen.getUint32(0xc, true)).toBe(0x18)
    expect(seen.getUint32(0x10, true) & 0x8000_0001).toBe(1)
    expect(seen.getUint32(0x32, true)).toBe(BOOT_GDT_START)
    expect(seen.getUint32(0x40, true)).toBe(0x336e_c578)
  })

  it('a flat binary in real mode', () => {
    const options = { protocol: flatBinary({ mode: 'real', address: 0x1_2340 }) }
    const seen = run(REAL_MODE, options)
    expect(seen.getUint32(0, true)).toBe(COMMAND_LINE_START)
    expect(seen.getUint16(8, true)).toBe(0x1000)
    expect(seen.getUint16(0xa, true)).toBe(0)
    expect(seen.getUint16(0xc, true)).toBe(0x1234)
  })

  it('a flat binary in protected and in long mode', () => {
    const address = 16 * MIB
    const guarded = run(PROTECTED_MODE, { protocol: flatBinary({ mode: 'protected', address }) })
    expect(guarded.getUint32(4, true)).toBe(COMMAND_LINE_START)
    const long = run(LONG_MODE, { protocol: flatBinary({ mode: 'long', address }) })
    expect(long.getBigUint64(0, true)).toBe(BigInt(COMMAND_LINE_START))
  })

  it('with the CPUID of its place', () => {
    const seen = run(bzImage({ code: LONG_MODE }), {}, { vcpu: 0, vcpus: 6 })
    const [ebx, ecx] = [seen.getUint32(0x40, true), seen.getUint32(0x44, true)]
    expect(ebx >>> 24).toBe(0)
    expect((ebx >>> 16) & 0xff).toBeGreaterThanOrEqual(6)
    expect(ecx >>> 31).toBe(1)
    // Leaf 0xB, where the CPU has it: cores.
    if (seen.getUint32(0x4c, true) !== 0) {
      expect(seen.getUint32(0x48, true)).toBe(3)
      expect(seen.getUint32(0x4c, true)).toBe(6)
    }
  })
})
