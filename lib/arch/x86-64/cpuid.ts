import { type CpuidEntry, KVM_CPUID_FLAG_SIGNIFCANT_INDEX } from '../../kvm/abi/cpuid.js'

/** One vCPU's place among its machine's: one socket, one core each, one thread each. */
export interface CpuPlace {
  /** Its number and its local APIC id, from 0. */
  readonly vcpu: number
  readonly vcpus: number
}

const ECX1_TSC_DEADLINE = 1 << 24
const ECX1_HYPERVISOR = 1 << 31
const EDX1_HTT = 1 << 28
const ECX80000001_CMP_LEGACY = 1 << 1
const LEVEL_SMT = 1
const LEVEL_CORE = 2
const KVM_SIGNATURE_LEAF = 0x4000_0000

/**
 * What CPUID tells one vCPU: what KVM supports, with the leaves that describe the host's own processor package
 * replaced by the guest's topology. (Intel SDM vol. 2, CPUID; AMD APM vol. 3, appendix E.)
 */
export function vcpuCpuid(supported: readonly CpuidEntry[], place: CpuPlace): CpuidEntry[] {
  const entries: CpuidEntry[] = []
  for (const entry of supported) {
    if (entry.function === 0xb || entry.function === 0x1f || entry.function === 0x8000_0026)
      continue
    entries.push(TOPOLOGY[entry.function]?.(entry, place) ?? entry)
  }
  const maximum = entries.find((entry) => entry.function === 0)?.eax ?? 0
  if (maximum >= 0xb) entries.push(...extendedTopology(place))
  return entries
}

/** APIC ids are numbered by cores alone: bits enough for the last of them. */
function idBits(vcpus: number): number {
  return Math.ceil(Math.log2(vcpus))
}

const TOPOLOGY: Readonly<Record<number, (entry: CpuidEntry, place: CpuPlace) => CpuidEntry>> = {
  1: (entry, { vcpu, vcpus }) => ({
    ...entry,
    ebx:
      ((entry.ebx & 0x0000_ffff) |
        (Math.min(1 << idBits(vcpus), 128) << 16) |
        ((vcpu & 0xff) << 24)) >>>
      0,
    ecx: (entry.ecx | ECX1_HYPERVISOR | ECX1_TSC_DEADLINE) >>> 0,
    edx: (vcpus > 1 ? entry.edx | EDX1_HTT : entry.edx & ~EDX1_HTT) >>> 0,
  }),
  // Caches: the first three levels in EAX[7:5]; up to the second each core has its own, the third is everyone's.
  4: (entry, { vcpus }) => cacheSharing(entry, vcpus, 26),
  2147483649: (entry, { vcpus }) => ({
    ...entry,
    ecx:
      (vcpus > 1 ? entry.ecx | ECX80000001_CMP_LEGACY : entry.ecx & ~ECX80000001_CMP_LEGACY) >>> 0,
  }),
  2147483656: (entry, { vcpus }) => ({
    ...entry,
    ecx: ((entry.ecx & 0xffff_0f00) | (idBits(vcpus) << 12) | (Math.min(vcpus, 256) - 1)) >>> 0,
  }),
  2147483677: (entry, { vcpus }) => cacheSharing(entry, vcpus, undefined),
  2147483678: (entry, { vcpu }) => ({ ...entry, eax: vcpu, ebx: vcpu & 0xff, ecx: 0 }),
}

/** Who shares a cache (EAX[25:14]) and, for Intel, how many cores there are (EAX[31:26]). */
function cacheSharing(
  entry: CpuidEntry,
  vcpus: number,
  coresShift: number | undefined,
): CpuidEntry {
  if ((entry.eax & 0x1f) === 0) return entry
  const level = (entry.eax >> 5) & 7
  const ids = 1 << idBits(vcpus)
  const sharers = level >= 3 ? ids : 1
  const cores = coresShift === undefined ? 0 : (Math.min(ids, 64) - 1) << coresShift
  return {
    ...entry,
    eax: ((entry.eax & 0x3fff) | ((Math.min(sharers, 4096) - 1) << 14) | cores) >>> 0,
  }
}

/** Leaf 0xB: one thread a core, then all cores in the package, then the end. */
function extendedTopology({ vcpu, vcpus }: CpuPlace): CpuidEntry[] {
  const level = (index: number, type: number, shift: number, count: number): CpuidEntry => ({
    function: 0xb,
    index,
    flags: KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
    eax: shift,
    ebx: count,
    ecx: index | (type << 8),
    edx: vcpu,
  })
  return [level(0, LEVEL_SMT, 0, 1), level(1, LEVEL_CORE, idBits(vcpus), vcpus), level(2, 0, 0, 0)]
}

/** Whether CPUID shows KVM's paravirtual leaves, which kvmclock and its like need. */
export function hasKvmSignature(entries: readonly CpuidEntry[]): boolean {
  return entries.some((entry) => entry.function === KVM_SIGNATURE_LEAF)
}
