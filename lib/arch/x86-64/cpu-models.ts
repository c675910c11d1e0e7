import { invalidOption } from '../../errors.js'
import type { CpuidEntry } from '../../kvm/abi/cpuid.js'
import { dependents, FEATURE_WORDS, FEATURES, type FeatureWord } from './cpu-features.js'
import { fixedLeaves } from './cpu-model-leaves.js'

/**
 * Baselines that are the same on every host of one vendor: the levels of the x86-64 psABI, with what every operating
 * system expects besides.
 */
export type CpuBaseline = 'x86-64-v1' | 'x86-64-v2' | 'x86-64-v3' | 'x86-64-v4'

/** What a guest's processors are. */
export interface CpuModel {
  readonly model: 'host' | CpuBaseline
  /** Features by name, on or off, in place of what the model says. */
  readonly features: Readonly<Record<string, boolean>>
}

export const CPU_MODELS = ['host', 'x86-64-v1', 'x86-64-v2', 'x86-64-v3', 'x86-64-v4'] as const

/** What a system needs, or does no harm and is on every host: those that KVM emulates count as the processor's. */
const V1: readonly string[] = [
  ...['fpu', 'de', 'pse', 'tsc', 'msr', 'pae', 'mce', 'cx8', 'apic', 'sep', 'mtrr', 'pge'],
  ...['mca', 'cmov', 'pat', 'pse36', 'clflush', 'mmx', 'fxsr', 'sse', 'sse2', 'x2apic'],
  ...['tsc_deadline_timer', 'hypervisor', 'syscall', 'nx', 'lm'],
]
const V2 = [...V1, 'cx16', 'lahf_lm', 'popcnt', 'pni', 'ssse3', 'sse4_1', 'sse4_2']
const V3 = [...V2, 'xsave', 'avx', 'avx2', 'bmi1', 'bmi2', 'f16c', 'fma', 'abm', 'movbe']
const V4 = [...V3, 'avx512f', 'avx512bw', 'avx512cd', 'avx512dq', 'avx512vl']

const BASELINES: Readonly<Record<CpuBaseline, readonly string[]>> = {
  'x86-64-v1': V1,
  'x86-64-v2': V2,
  'x86-64-v3': V3,
  'x86-64-v4': V4,
}

/** KVM's own, which depend on the kernel and not on the processor: those that the host has of these. */
const PARAVIRTUAL: readonly string[] = [
  ...['kvmclock_old', 'kvm_nopiodelay', 'kvmclock', 'kvm_asyncpf', 'kvm_steal_time', 'kvm_pv_eoi'],
  ...['kvm_pv_unhalt', 'kvm_pv_tlb_flush', 'kvm_pv_ipi', 'kvm_poll_control', 'kvm_asyncpf_int'],
  'kvmclock_stable_bit',
]

/** What KVM_GET_SUPPORTED_CPUID leaves out though the in-kernel local APIC has it, and what says that this is a guest. */
const ALWAYS: readonly string[] = ['tsc_deadline_timer', 'hypervisor']

/** CPUID's answers for a model, before they are made each vCPU's own. Topology is not a model's. */
export function modelCpuid(
  supported: readonly CpuidEntry[],
  { model, features }: CpuModel,
): CpuidEntry[] {
  const host = withFeatures(supported, ALWAYS, true)
  const wanted = Object.entries(features)
  const added = wanted.filter(([, on]) => on).map(([name]) => name)
  const removed = wanted.filter(([, on]) => !on).flatMap(([name]) => [name, ...dependents(name)])
  checkContradiction(added, removed)
  const baseline = model === 'host' ? [] : BASELINES[model]
  const needed = [...baseline.filter((name) => !removed.includes(name)), ...added]
  checkPresent(host, model, needed)
  if (model === 'host') return fitXsave(withFeatures(host, removed, false))
  const names = [...needed, ...PARAVIRTUAL.filter((name) => !removed.includes(name))]
  return fitXsave(fixedLeaves(onlyFeatures(host, names), model))
}

function checkContradiction(added: readonly string[], removed: readonly string[]): void {
  const both = added.find((name) => removed.includes(name))
  if (both === undefined) return
  throw invalidOption(`cpu.features.${both}`, true, 'false, as another that it needs is false')
}

function checkPresent(host: readonly CpuidEntry[], model: string, needed: readonly string[]): void {
  const missing = needed.filter((name) => !hasFeature(host, name))
  if (missing.length === 0) return
  const what = `one whose features this host has; ${missing.join(', ')} it has not`
  throw invalidOption('cpu', model, what)
}

/** Whether a feature, by its bit, is among those. */
export function hasFeature(entries: readonly CpuidEntry[], name: string): boolean {
  const feature = FEATURES.get(name)
  if (feature === undefined) return false
  const { word, bit } = feature
  const entry = entries.find((each) => isOf(each, word))
  return entry !== undefined && ((entry[word.register] >>> bit) & 1) === 1
}

const isOf = (entry: CpuidEntry, { leaf, index }: FeatureWord) =>
  entry.function === leaf && entry.index === index

function mask(names: readonly string[], word: FeatureWord): number {
  return names
    .map((name) => FEATURES.get(name))
    .filter((feature) => feature?.word === word)
    .reduce((total, feature) => (total | (1 << feature!.bit)) >>> 0, 0)
}

function withFeatures(
  entries: readonly CpuidEntry[],
  names: readonly string[],
  on: boolean,
): CpuidEntry[] {
  return entries.map((entry) => {
    const changed = { ...entry }
    for (const word of FEATURE_WORDS.filter((each) => isOf(entry, each))) {
      const bits = mask(names, word)
      const before = changed[word.register]
      changed[word.register] = (on ? before | bits : before & ~bits) >>> 0
    }
    return changed
  })
}

/** AMD repeats bits of leaf 1 in this word: Linux takes them for the same features. */
const AMD_REPEATED = 0x0183_f3ff

/** Feature words with the bits of `names` and no others, which newer hosts may have. */
function onlyFeatures(entries: readonly CpuidEntry[], names: readonly string[]): CpuidEntry[] {
  return entries.map((entry) => {
    const words = FEATURE_WORDS.filter((each) => isOf(entry, each))
    if (words.length === 0) return entry
    const changed = { ...entry }
    for (const word of words) {
      const repeated = word.leaf === 0x8000_0001 && word.register === 'edx' ? AMD_REPEATED : 0
      const bits = changed[word.register] & (mask(names, word) | repeated)
      changed[word.register] = bits >>> 0
    }
    return changed
  })
}

const XCR0_X87_SSE = 0x3
/** State components by the feature that needs them (Intel SDM vol. 1, section 13.1). */
const XCR0_OF: Readonly<Record<string, number>> = {
  avx: 0x4,
  mpx: 0x18,
  avx512f: 0xe0,
  pku: 0x200,
  amx_tile: 0x6_0000,
}

/** Leaf 0xD has the state of those features that are there, and no other. */
function fitXsave(entries: readonly CpuidEntry[]): CpuidEntry[] {
  if (!hasFeature(entries, 'xsave')) return entries.filter((entry) => entry.function !== 0xd)
  const removed = Object.entries(XCR0_OF)
    .filter(([name]) => !hasFeature(entries, name))
    .reduce((bits, [, components]) => bits | components, 0)
  const kept = entries.filter(
    (entry) => entry.function !== 0xd || entry.index < 2 || !((removed >>> entry.index) & 1),
  )
  const end = kept
    .filter((entry) => entry.function === 0xd && entry.index >= 2 && (entry.ecx & 1) === 0)
    .reduce((most, { eax, ebx }) => Math.max(most, eax + ebx), XSAVE_LEGACY)
  return kept.map((entry) =>
    entry.function === 0xd && entry.index === 0
      ? { ...entry, eax: (entry.eax & ~removed) | XCR0_X87_SSE, ebx: end, ecx: end }
      : entry,
  )
}

/** Bytes of the legacy area and the header. */
const XSAVE_LEGACY = 576
