import { describe, expect, it } from 'vitest'
import { apicId, type CpuTopology, idBits } from '../../../lib/arch/x86-64/cpu-topology.js'
import { physicalAddressBits, vcpuCpuid } from '../../../lib/arch/x86-64/cpuid.js'
import type { CpuidEntry } from '../../../lib/kvm/abi/cpuid.js'

const INTEL = { ebx: 0x756e_6547, edx: 0x4965_6e69, ecx: 0x6c65_746e }
const AMD = { ebx: 0x6874_7541, edx: 0x6974_6e65, ecx: 0x444d_4163 }

function leaf(fn: number, values: Partial<CpuidEntry> = {}): CpuidEntry {
  return { function: fn, index: 0, flags: 0, eax: 0, ebx: 0, ecx: 0, edx: 0, ...values }
}

/** What a big host's KVM might report: everything that must not show is set. */
function supported(vendor: typeof INTEL, maximum = 0x1f): CpuidEntry[] {
  return [
    leaf(0, { eax: maximum, ...vendor }),
    leaf(1, { eax: 0x50654, ebx: 0x2b40_0800, ecx: 0x77fa_3203, edx: 0x0f8b_fbff }),
    leaf(4, { index: 0, flags: 1, eax: 0xfc00_4121 }),
    leaf(4, { index: 1, flags: 1, eax: 0xfc00_4143 }),
    leaf(4, { index: 2, flags: 1, eax: 0xfc01_c163 }),
    leaf(4, { index: 3, flags: 1, eax: 0 }),
    leaf(7, { flags: 1, ebx: 0xffff_ffff, ecx: 0xffff_ffff }),
    leaf(0xb, { index: 0, flags: 1, eax: 1, ebx: 2, ecx: 0x100, edx: 43 }),
    leaf(0xb, { index: 1, flags: 1, eax: 7, ebx: 80, ecx: 0x201, edx: 43 }),
    leaf(0x12, { flags: 1, eax: 3 }),
    leaf(0x1f, { index: 0, flags: 1, eax: 1, ebx: 2, ecx: 0x100, edx: 43 }),
    leaf(0x4000_0000, { eax: 0x4000_0001, ebx: 0x4b4d_564b, ecx: 0x564b_4d56, edx: 0x4d }),
    leaf(0x4000_0001, { eax: 0x0100_7afb }),
    leaf(0x8000_0000, { eax: 0x8000_0028 }),
    leaf(0x8000_0001, { ecx: 0x0040_0121, edx: 0x2c10_0800 }),
    leaf(0x8000_0008, { eax: 0x3030, ebx: 0x100_d000, ecx: 0x707f }),
    leaf(0x8000_001d, { index: 0, flags: 1, eax: 0x4121 }),
    leaf(0x8000_001d, { index: 3, flags: 1, eax: 0x1c163 }),
    leaf(0x8000_001e, { eax: 43, ebx: 0x115, ecx: 0x303 }),
    leaf(0x8000_001f, { eax: 0xffff, ebx: 0x4173 }),
    leaf(0x8000_0026, { index: 0, flags: 1, eax: 1, ebx: 2, ecx: 0x100, edx: 43 }),
  ]
}

function find(entries: readonly CpuidEntry[], fn: number, index = 0): CpuidEntry | undefined {
  return entries.find((entry) => entry.function === fn && entry.index === index)
}

const bits = (value: number, high: number, low: number) =>
  (value >>> low) & (2 ** (high - low + 1) - 1)

describe('APIC ids', () => {
  it('number threads, cores and sockets in bits of their own', () => {
    const ids = (topology: CpuTopology) =>
      Array.from({ length: topology.sockets * topology.cores * topology.threads }, (_, vcpu) =>
        apicId(vcpu, topology),
      )
    expect(ids({ sockets: 1, cores: 5, threads: 1 })).toEqual([0, 1, 2, 3, 4])
    expect(ids({ sockets: 1, cores: 2, threads: 2 })).toEqual([0, 1, 2, 3])
    expect(ids({ sockets: 2, cores: 3, threads: 1 })).toEqual([0, 1, 2, 4, 5, 6])
    expect(ids({ sockets: 2, cores: 3, threads: 2 })).toEqual([
      0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13,
    ])
  })

  it('take no more bits than needed', () => {
    expect([1, 2, 3, 4, 5, 8, 9, 256, 257].map(idBits)).toEqual([0, 1, 2, 2, 3, 3, 4, 8, 9])
  })
})

describe('CPUID of a vCPU', () => {
  it('shows a single core without neighbours', () => {
    const entries = vcpuCpuid(supported(INTEL), { vcpu: 0, vcpus: 1 })
    const one = find(entries, 1)!
    expect(bits(one.ebx, 31, 24)).toBe(0)
    expect(bits(one.ebx, 23, 16)).toBe(1)
    expect(bits(one.ebx, 15, 0)).toBe(0x0800)
    expect(bits(one.edx, 28, 28)).toBe(0)
    for (const index of [0, 1, 2]) {
      expect(bits(find(entries, 4, index)!.eax, 31, 14)).toBe(0)
    }
    expect(find(entries, 4, 2)!.eax & 0x3fff).toBe(0x0163)
    expect(find(entries, 4, 3)!.eax).toBe(0)
  })

  it('keeps the features', () => {
    const before = find(supported(INTEL), 1)!
    const after = find(vcpuCpuid(supported(INTEL), { vcpu: 0, vcpus: 1 }), 1)!
    expect(after.ecx).toBe(before.ecx)
    expect(after.eax).toBe(before.eax)
  })

  it.each([0, 1, 2, 3, 4, 5])('tells vCPU %i of six its place (Intel)', (vcpu) => {
    const entries = vcpuCpuid(supported(INTEL), { vcpu, vcpus: 6 })
    const one = find(entries, 1)!
    expect(bits(one.ebx, 31, 24)).toBe(vcpu)
    expect(bits(one.ebx, 23, 16)).toBe(8)
    expect(bits(one.edx, 28, 28)).toBe(1)
    // L1 and L2 are a core's own, L3 is shared by the 8 ids of the package.
    expect([0, 1, 2].map((index) => bits(find(entries, 4, index)!.eax, 25, 14))).toEqual([0, 0, 7])
    expect(bits(find(entries, 4, 0)!.eax, 31, 26)).toBe(7)
    for (const fn of [0xb, 0x1f]) {
      expect(find(entries, fn, 0)).toMatchObject({
        flags: 1,
        eax: 0,
        ebx: 1,
        ecx: 0x100,
        edx: vcpu,
      })
      expect(find(entries, fn, 1)).toMatchObject({
        flags: 1,
        eax: 3,
        ebx: 6,
        ecx: 0x201,
        edx: vcpu,
      })
      expect(find(entries, fn, 2)).toMatchObject({ flags: 1, eax: 0, ebx: 0, ecx: 2, edx: vcpu })
    }
    // Intel's reserved bits stay what they were.
    expect(find(entries, 0x8000_0001)!.ecx & 2).toBe(0)
    expect(find(entries, 0x8000_0008)!.ecx).toBe(0x707f)
  })

  it.each([0, 5])('tells vCPU %i of six its place (AMD)', (vcpu) => {
    const entries = vcpuCpuid(supported(AMD), { vcpu, vcpus: 6 })
    expect(bits(find(entries, 1)!.ebx, 23, 16)).toBe(6)
    expect(find(entries, 0x8000_0001)!.ecx & 2).toBe(2)
    const sizes = find(entries, 0x8000_0008)!
    expect(bits(sizes.ecx, 7, 0)).toBe(5)
    expect(bits(sizes.ecx, 15, 12)).toBe(3)
    expect(sizes.eax).toBe(0x3030)
    expect(bits(find(entries, 0x8000_001d, 0)!.eax, 25, 14)).toBe(0)
    expect(bits(find(entries, 0x8000_001d, 3)!.eax, 25, 14)).toBe(7)
    expect(find(entries, 0x8000_001e)).toMatchObject({ eax: vcpu, ebx: vcpu, ecx: 0, edx: 0 })
  })

  it('describes sockets and threads', () => {
    const topology = { sockets: 2, cores: 3, threads: 2 }
    const entries = vcpuCpuid(supported(INTEL), { vcpu: 11, vcpus: 12, topology })
    expect(bits(find(entries, 1)!.ebx, 31, 24)).toBe(0b1101)
    expect(find(entries, 0xb, 0)).toMatchObject({ eax: 1, ebx: 2, ecx: 0x100, edx: 0b1101 })
    expect(find(entries, 0xb, 1)).toMatchObject({ eax: 3, ebx: 6, ecx: 0x201, edx: 0b1101 })
    expect([0, 1, 2].map((index) => bits(find(entries, 4, index)!.eax, 25, 14))).toEqual([1, 1, 7])
    expect(bits(find(entries, 4, 0)!.eax, 31, 26)).toBe(3)
    const amd = vcpuCpuid(supported(AMD), { vcpu: 11, vcpus: 12, topology })
    expect(find(amd, 0x8000_001e)).toMatchObject({ eax: 0b1101, ebx: 0x106, ecx: 1 })
    expect(bits(find(amd, 0x8000_0008)!.ecx, 15, 0)).toBe((3 << 12) | 5)
  })

  it('counts beyond what 8-bit fields hold', () => {
    const entries = vcpuCpuid(supported(INTEL), { vcpu: 299, vcpus: 300 })
    expect(bits(find(entries, 1)!.ebx, 31, 16)).toBe(((299 & 0xff) << 8) | 0xff)
    expect(find(entries, 0xb, 1)).toMatchObject({ eax: 9, ebx: 300, edx: 299 })
    expect(bits(find(entries, 4, 2)!.eax, 31, 14)).toBe((63 << 12) | 511)
    const amd = vcpuCpuid(supported(AMD), { vcpu: 299, vcpus: 300 })
    expect(bits(find(amd, 0x8000_0008)!.ecx, 15, 0)).toBe((9 << 12) | 255)
  })

  it('hides enclaves, encryption and what it does not rewrite of topology', () => {
    const entries = vcpuCpuid(supported(AMD), { vcpu: 0, vcpus: 2 })
    for (const fn of [0x12, 0x8000_001f, 0x8000_0026]) expect(find(entries, fn)).toBeUndefined()
    expect(find(entries, 7)).toMatchObject({ ebx: 0xffff_fffb, ecx: 0xbfff_ffff })
  })

  it('keeps the leaves of KVM', () => {
    const entries = vcpuCpuid(supported(INTEL), { vcpu: 1, vcpus: 2 })
    for (const fn of [0x4000_0000, 0x4000_0001]) {
      expect(find(entries, fn)).toEqual(find(supported(INTEL), fn))
    }
  })

  it('adds no leaf beyond the highest', () => {
    const functions = (maximum: number) =>
      vcpuCpuid(supported(AMD, maximum), { vcpu: 0, vcpus: 2 }).map((entry) => entry.function)
    expect(functions(0xa)).not.toContain(0xb)
    expect(functions(0x10).filter((fn) => fn === 0xb)).toHaveLength(3)
    expect(functions(0x10)).not.toContain(0x1f)
  })

  it('gives unsigned values and leaves its input alone', () => {
    const input = supported(INTEL)
    const entries = vcpuCpuid(input, { vcpu: 200, vcpus: 256 })
    expect(input).toEqual(supported(INTEL))
    for (const { eax, ebx, ecx, edx } of entries) {
      for (const value of [eax, ebx, ecx, edx]) expect(value).toBe(value >>> 0)
    }
  })
})

it('knows how wide physical addresses are', () => {
  expect(physicalAddressBits(supported(INTEL))).toBe(48)
  expect(physicalAddressBits([])).toBe(36)
})
