import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { dependents, FEATURE_WORDS, FEATURES } from '../../../lib/arch/x86-64/cpu-features.js'
import {
  CPU_MODELS,
  type CpuModel,
  hasFeature,
  modelCpuid,
} from '../../../lib/arch/x86-64/cpu-models.js'
import { vcpuCpuid } from '../../../lib/arch/x86-64/cpuid.js'
import type { CpuidEntry } from '../../../lib/kvm/abi/cpuid.js'

const VENDORS = {
  intel: { ebx: 0x756e_6547, edx: 0x4965_6e69, ecx: 0x6c65_746e },
  amd: { ebx: 0x6874_7541, edx: 0x6974_6e65, ecx: 0x444d_4163 },
}

const leaf = (fn: number, values: Partial<CpuidEntry> = {}): CpuidEntry => ({
  ...{ function: fn, index: 0, flags: 0, eax: 0, ebx: 0, ecx: 0, edx: 0 },
  ...values,
})
const ones = { eax: 0xffff_ffff, ebx: 0xffff_ffff, ecx: 0xffff_ffff, edx: 0xffff_ffff }
const state = (index: number, size: number, offset: number) =>
  leaf(0xd, { index, flags: 1, eax: size, ebx: offset })

/** A host that has everything; `seed` stands in what differs from host to host. */
function host(vendor: keyof typeof VENDORS, seed = 0): CpuidEntry[] {
  return [
    leaf(0, { eax: 0x1f + seed, ...VENDORS[vendor] }),
    leaf(1, { ...ones, eax: 0x50654 + seed, ebx: 0x800 + (seed << 16), ecx: 0xfeff_ffff }),
    leaf(2, { eax: seed }),
    leaf(4, { index: 0, flags: 1, eax: 0x121 + (seed << 14) }),
    leaf(6, { ...ones, eax: 4 + (seed << 8) }),
    leaf(7, { flags: 1, ...ones, eax: 2 }),
    leaf(7, { index: 1, flags: 1, ...ones }),
    leaf(7, { index: 2, flags: 1, edx: seed }),
    leaf(0xa, { eax: seed }),
    leaf(0xd, { flags: 1, eax: 0x602e7, ebx: 0x2b00, ecx: 0x2b00 }),
    leaf(0xd, { index: 1, flags: 1, eax: 0x1f, ebx: seed, ecx: 0x1800 }),
    ...[state(2, 256, 576), state(5, 64, 1088), state(6, 512, 1152), state(7, 1024, 1664)],
    ...[state(9, 8, 2688), state(17, 64, 2752), state(18, 8192, 2816)],
    leaf(0x15, { eax: seed }),
    leaf(0x4000_0001, { eax: 0x0100_7efb }),
    leaf(0x8000_0000, { eax: 0x8000_0028 + seed }),
    leaf(0x8000_0001, { ...ones, eax: seed }),
    leaf(0x8000_0002, { eax: seed }),
    leaf(0x8000_0006, { ecx: seed }),
    leaf(0x8000_0007, { ...ones, edx: 0x100 }),
    leaf(0x8000_0008, { ...ones, eax: 0x3034, ecx: seed }),
    leaf(0x8000_0021, { eax: seed }),
  ]
}

const model = (name: CpuModel['model'], features: Record<string, boolean> = {}): CpuModel => ({
  model: name,
  features,
})
const find = (entries: readonly CpuidEntry[], fn: number, index = 0) =>
  entries.find((entry) => entry.function === fn && entry.index === index)
const names = (entries: readonly CpuidEntry[]) =>
  [...FEATURES.keys()].filter((name) => hasFeature(entries, name))

describe('features', () => {
  it('have each a bit of its own', () => {
    const bits = FEATURE_WORDS.flatMap(({ leaf: fn, index, register, names: all }) =>
      Object.values(all).map((bit) => `${fn} ${index} ${register} ${bit}`),
    )
    expect(new Set(bits).size).toBe(bits.length)
    expect(FEATURES.size).toBe(bits.length)
  })

  it('are named where others depend on them', () => {
    for (const name of FEATURES.keys()) {
      for (const other of dependents(name)) expect(FEATURES.has(other), other).toBe(true)
    }
  })
})

describe('host', () => {
  it('has all that the host has, and what KVM leaves out', () => {
    const entries = modelCpuid(host('intel'), model('host'))
    expect(find(entries, 1)!.ecx).toBe(0xffff_ffff)
    expect(entries.length).toBe(host('intel').length)
    expect(find(entries, 0xd)).toMatchObject({ eax: 0x602e7, ecx: 11008 })
  })

  it('can be had with less, what depends on it and its state', () => {
    const entries = modelCpuid(host('intel'), model('host', { avx512f: false, amx_tile: false }))
    expect(names(entries)).not.toContain('avx512f')
    expect(names(entries)).not.toContain('avx512_bf16')
    expect(names(entries)).toContain('avx2')
    expect(find(entries, 0xd)).toMatchObject({ eax: 0x207, ebx: 2696, ecx: 2696 })
    for (const index of [5, 6, 7, 17, 18]) expect(find(entries, 0xd, index)).toBeUndefined()
    const none = modelCpuid(host('intel'), model('host', { xsave: false }))
    expect(find(none, 0xd)).toBeUndefined()
    expect(names(none)).not.toContain('fma')
  })

  it('can be had without what KVM adds', () => {
    const off = { tsc_deadline_timer: false, hypervisor: false, kvm_steal_time: false }
    const entries = vcpuCpuid(modelCpuid(host('amd'), model('host', off)), { vcpu: 0, vcpus: 1 })
    expect(find(entries, 1)!.ecx).toBe(0x7eff_ffff)
    expect(find(entries, 0x4000_0001)!.eax).toBe(0x0100_7edb)
  })
})

describe.each(CPU_MODELS.filter((name) => name !== 'host'))('%s', (name) => {
  it.each(['intel', 'amd'] as const)('is the same on every %s host', (vendor) => {
    const wanted = model(name)
    expect(modelCpuid(host(vendor, 5), wanted)).toEqual(modelCpuid(host(vendor), wanted))
  })

  it('says its name', () => {
    const entries = modelCpuid(host('amd'), model(name))
    const { eax, ebx, ecx } = find(entries, 0x8000_0002)!
    expect(
      Buffer.from(Uint32Array.of(eax, ebx, ecx).buffer)
        .toString()
        .replaceAll('\0', ''),
    ).toBe(name)
  })
})

describe('baselines', () => {
  it('have what the psABI asks of their level, and no more', () => {
    const own = (name: CpuModel['model']) =>
      names(modelCpuid(host('intel'), model(name))).filter((each) => !each.startsWith('kvm'))
    const [v1, v2, v3, v4] = (['x86-64-v1', 'x86-64-v2', 'x86-64-v3', 'x86-64-v4'] as const).map(
      own,
    )
    const added = (more: string[], less: string[]) =>
      more.filter((each) => !less.includes(each)).sort()
    expect(v1).toContain('cmov')
    expect(added(v2!, v1!)).toEqual([
      'cx16',
      'lahf_lm',
      'pni',
      'popcnt',
      'sse4_1',
      'sse4_2',
      'ssse3',
    ])
    expect(added(v3!, v2!)).toEqual([
      'abm',
      'avx',
      'avx2',
      'bmi1',
      'bmi2',
      'f16c',
      'fma',
      'movbe',
      'xsave',
    ])
    expect(added(v4!, v3!)).toEqual(['avx512bw', 'avx512cd', 'avx512dq', 'avx512f', 'avx512vl'])
  })

  it('take changes', () => {
    const changes = { aes: true, avx2: false, kvm_pv_eoi: false }
    const entries = modelCpuid(host('amd'), model('x86-64-v3', changes))
    expect(names(entries)).toContain('aes')
    expect(names(entries)).toContain('avx')
    expect(names(entries)).not.toContain('avx2')
    expect(names(entries)).not.toContain('kvm_pv_eoi')
    expect(names(entries)).toContain('kvm_steal_time')
  })

  it('name what the host has not', () => {
    const poor = host('amd').map((entry) => (entry.function === 7 ? { ...entry, ebx: 0 } : entry))
    expect(() => modelCpuid(poor, model('x86-64-v3'))).toThrow(
      expect.objectContaining({
        code: 'ERR_INVALID_OPTION',
        option: 'cpu',
        message: expect.stringContaining('avx2, bmi1, bmi2 it has not'),
      }),
    )
    expect(() => modelCpuid(poor, model('host', { smep: true }))).toThrow('smep it has not')
    const without = { avx2: false, bmi1: false, bmi2: false }
    expect(names(modelCpuid(poor, model('x86-64-v3', without)))).toContain('fma')
  })

  it('refuse what contradicts itself', () => {
    expect(() => modelCpuid(host('amd'), model('host', { avx: false, avx2: true }))).toThrow(
      expect.objectContaining({ option: 'cpu.features.avx2' }),
    )
  })

  it('never have a feature without what it needs, nor one the host has not', () => {
    const feature = fc.constantFrom(...FEATURES.keys())
    const features = fc.dictionary(feature, fc.constant(false)) as fc.Arbitrary<
      Record<string, boolean>
    >
    fc.assert(
      fc.property(fc.constantFrom(...CPU_MODELS), features, (name, off) => {
        const has = names(modelCpuid(host('intel'), model(name, off)))
        for (const each of Object.keys(off)) {
          for (const gone of [each, ...dependents(each)]) expect(has).not.toContain(gone)
        }
      }),
    )
  })
})
