/** A word of CPUID that has a bit for each of several features. */
export interface FeatureWord {
  readonly leaf: number
  readonly index: number
  readonly register: 'eax' | 'ebx' | 'ecx' | 'edx'
}

/** Names by bit, as /proc/cpuinfo of Linux spells them; QEMU's names for the features of KVM, with underscores. */
interface Word extends FeatureWord {
  readonly names: Readonly<Record<string, number>>
}

const word = (
  leaf: number,
  register: FeatureWord['register'],
  names: Readonly<Record<string, number>>,
  index = 0,
): Word => ({ leaf, index, register, names })

/** KVM's own leaf (cpuid.rst). */
const KVM_FEATURES_LEAF = 0x4000_0001

/** Intel SDM vol. 2, CPUID; AMD APM vol. 3, appendix E. */
export const FEATURE_WORDS: readonly Word[] = [
  word(1, 'edx', {
    ...{ fpu: 0, vme: 1, de: 2, pse: 3, tsc: 4, msr: 5, pae: 6, mce: 7, cx8: 8, apic: 9 },
    ...{ sep: 11, mtrr: 12, pge: 13, mca: 14, cmov: 15, pat: 16, pse36: 17, clflush: 19 },
    ...{ mmx: 23, fxsr: 24, sse: 25, sse2: 26, ss: 27 },
  }),
  word(1, 'ecx', {
    ...{ pni: 0, pclmulqdq: 1, monitor: 3, vmx: 5, ssse3: 9, fma: 12, cx16: 13, pdcm: 15 },
    ...{ pcid: 17, sse4_1: 19, sse4_2: 20, x2apic: 21, movbe: 22, popcnt: 23 },
    ...{ tsc_deadline_timer: 24, aes: 25, xsave: 26, avx: 28, f16c: 29, rdrand: 30 },
    hypervisor: 31,
  }),
  word(6, 'eax', { arat: 2 }),
  word(7, 'ebx', {
    ...{ fsgsbase: 0, tsc_adjust: 1, bmi1: 3, hle: 4, avx2: 5, smep: 7, bmi2: 8, erms: 9 },
    ...{ invpcid: 10, rtm: 11, mpx: 14, avx512f: 16, avx512dq: 17, rdseed: 18, adx: 19 },
    ...{ smap: 20, avx512ifma: 21, clflushopt: 23, clwb: 24, avx512cd: 28, sha_ni: 29 },
    ...{ avx512bw: 30, avx512vl: 31 },
  }),
  word(7, 'ecx', {
    ...{ avx512vbmi: 1, umip: 2, pku: 3, avx512_vbmi2: 6, gfni: 8, vaes: 9, vpclmulqdq: 10 },
    ...{ avx512_vnni: 11, avx512_bitalg: 12, avx512_vpopcntdq: 14, la57: 16, rdpid: 22 },
  }),
  word(7, 'edx', {
    ...{ fsrm: 4, avx512_vp2intersect: 8, md_clear: 10, serialize: 14, amx_bf16: 22 },
    ...{ avx512_fp16: 23, amx_tile: 24, amx_int8: 25, spec_ctrl: 26, intel_stibp: 27 },
    ...{ flush_l1d: 28, arch_capabilities: 29, spec_ctrl_ssbd: 31 },
  }),
  word(7, 'eax', { avx_vnni: 4, avx512_bf16: 5 }, 1),
  word(0xd, 'eax', { xsaveopt: 0, xsavec: 1, xgetbv1: 2, xsaves: 3 }, 1),
  word(0x8000_0001, 'edx', {
    ...{ syscall: 11, nx: 20, mmxext: 22, fxsr_opt: 25, pdpe1gb: 26, rdtscp: 27, lm: 29 },
    ...{ '3dnowext': 30, '3dnow': 31 },
  }),
  word(0x8000_0001, 'ecx', {
    ...{ lahf_lm: 0, svm: 2, cr8_legacy: 4, abm: 5, sse4a: 6, misalignsse: 7 },
    ...{ '3dnowprefetch': 8, xop: 11, fma4: 16, tbm: 21, topoext: 22 },
  }),
  word(0x8000_0007, 'edx', { invtsc: 8 }),
  word(0x8000_0008, 'ebx', {
    ...{ clzero: 0, wbnoinvd: 9, ibpb: 12, ibrs: 14, stibp: 15, ssbd: 24, virt_ssbd: 25 },
  }),
  word(KVM_FEATURES_LEAF, 'eax', {
    ...{ kvmclock_old: 0, kvm_nopiodelay: 1, kvmclock: 3, kvm_asyncpf: 4, kvm_steal_time: 5 },
    ...{ kvm_pv_eoi: 6, kvm_pv_unhalt: 7, kvm_pv_tlb_flush: 9, kvm_asyncpf_vmexit: 10 },
    ...{ kvm_pv_ipi: 11, kvm_poll_control: 12, kvm_pv_sched_yield: 13, kvm_asyncpf_int: 14 },
    ...{ kvm_msi_ext_dest_id: 15, kvm_hc_map_gpa_range: 16, kvmclock_stable_bit: 24 },
  }),
]

/** Where a feature's bit is. */
export interface FeatureBit {
  readonly word: FeatureWord
  readonly bit: number
}

/** Every feature by its name. */
export const FEATURES: ReadonlyMap<string, FeatureBit> = new Map(
  FEATURE_WORDS.flatMap((each) =>
    Object.entries(each.names).map(([name, bit]) => [name, { word: each, bit }] as const),
  ),
)

/** What goes with a feature that is taken away, as it cannot be used without. */
const DEPENDENTS: Readonly<Record<string, readonly string[]>> = {
  xsave: ['avx', 'xsaveopt', 'xsavec', 'xgetbv1', 'xsaves', 'pku', 'mpx', 'amx_tile'],
  avx: ['avx2', 'fma', 'f16c', 'vaes', 'vpclmulqdq', 'xop', 'fma4'],
  avx2: ['avx512f', 'avx_vnni'],
  avx512f: [
    ...['avx512dq', 'avx512ifma', 'avx512cd', 'avx512bw', 'avx512vl', 'avx512vbmi'],
    ...['avx512_vbmi2', 'avx512_vnni', 'avx512_bitalg', 'avx512_vpopcntdq', 'avx512_bf16'],
    ...['avx512_fp16', 'avx512_vp2intersect'],
  ],
  amx_tile: ['amx_bf16', 'amx_int8'],
  sse: ['sse2'],
  sse2: ['pni'],
  pni: ['ssse3'],
  ssse3: ['sse4_1'],
  sse4_1: ['sse4_2'],
  sse4_2: ['avx'],
}

/** Those that need `name`, and those that need these. */
export function dependents(name: string): string[] {
  return (DEPENDENTS[name] ?? []).flatMap((next) => [next, ...dependents(next)])
}
