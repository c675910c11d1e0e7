import { type CpuidEntry, KVM_CPUID_FLAG_SIGNIFCANT_INDEX } from '../../kvm/abi/cpuid.js'
import { apicId, type CpuTopology, flatTopology, idBits } from './cpu-topology.js'

/** One vCPU's place among its machine's. */
export interface CpuPlace {
  /** Its number, from 0. */
  readonly vcpu: number
  /** How many vCPUs the machine has. */
  readonly vcpus: number
  /** One socket with a core for each vCPU, unless told. */
  readonly topology?: CpuTopology
}

const EBX7_SGX = 1 << 2
const ECX7_SGX_LC = 1 << 30
const ECX80000001_CMP_LEGACY = 1 << 1
const EDX1_HTT = 1 << 28

/** Leaf 0xB's level types. */
const LEVEL_SMT = 1
const LEVEL_CORE = 2

/** What a leaf is rewritten from. */
interface Cpu {
  readonly apicId: number
  readonly threads: number
  /** Logical processors of one package. */
  readonly packageCpus: number
  /** Bits of the APIC id that tell a core's threads, and a package's logical processors, apart. */
  readonly threadBits: number
  readonly packageBits: number
  readonly amd: boolean
}

/**
 * What CPUID tells one vCPU: what its model has, with the leaves that describe the host's own package replaced by the
 * guest's topology, and enclaves and encrypted memory hidden. KVM's own leaves stay.
 * (Intel SDM vol. 2, CPUID; AMD APM vol. 3, appendix E; KVM's cpuid.rst.)
 */
export function vcpuCpuid(supported: readonly CpuidEntry[], place: CpuPlace): CpuidEntry[] {
  const cpu = describeCpu(supported, place)
  const entries = supported
    .filter((entry) => !REPLACED.includes(entry.function))
    .map((entry) => REWRITTEN.get(entry.function)?.(entry, cpu) ?? entry)
  const maximum = entries.find((entry) => entry.function === 0)?.eax ?? 0
  for (const leaf of [0xb, 0x1f]) {
    if (leaf <= maximum) entries.push(...extendedTopology(leaf, cpu))
  }
  return entries
}

/** Bits of a guest-physical address, from KVM_GET_SUPPORTED_CPUID: guest memory ends below 2 to that power. */
export function physicalAddressBits(supported: readonly CpuidEntry[]): number {
  const bits = supported.find((entry) => entry.function === 0x8000_0008)?.eax ?? 0
  // 36 is what a CPU without the leaf has (Intel SDM vol. 3, section 4.1.4).
  return bits & 0xff || 36
}

function describeCpu(
  supported: readonly CpuidEntry[],
  { vcpu, vcpus, topology = flatTopology(vcpus) }: CpuPlace,
): Cpu {
  const threadBits = idBits(topology.threads)
  // 'AuthenticAMD' and 'HygonGenuine' by their first four letters.
  const vendor = supported.find((entry) => entry.function === 0)?.ebx
  return {
    apicId: apicId(vcpu, topology),
    threads: topology.threads,
    packageCpus: topology.cores * topology.threads,
    threadBits,
    packageBits: threadBits + idBits(topology.cores),
    amd: vendor === 0x6874_7541 || vendor === 0x6f67_7948,
  }
}

/** Written anew, or left out: topology, SGX, AMD's extended topology, memory encryption. */
const REPLACED: readonly number[] = [0xb, 0x12, 0x1f, 0x8000_001f, 0x8000_0026]

type Rewrite = (entry: CpuidEntry, cpu: Cpu) => CpuidEntry

const REWRITTEN: ReadonlyMap<number, Rewrite> = new Map<number, Rewrite>([
  [1, versionInformation],
  [4, deterministicCaches],
  [7, structuredFeatures],
  [0x8000_0001, extendedFeatures],
  [0x8000_0008, sizeIdentifiers],
  [0x8000_001d, cacheProperties],
  [0x8000_001e, extendedApicId],
])

function versionInformation(entry: CpuidEntry, cpu: Cpu): CpuidEntry {
  const ids = Math.min(cpu.amd ? cpu.packageCpus : 1 << cpu.packageBits, 255)
  return {
    ...entry,
    ebx: ((entry.ebx & 0xffff) | (ids << 16) | (cpu.apicId << 24)) >>> 0,
    edx: withBit(entry.edx, EDX1_HTT, cpu.packageCpus > 1),
  }
}

/** Intel's caches: EAX[25:14] says how many APIC ids share each, EAX[31:26] how many cores' ids there are, both less 1. */
function deterministicCaches(entry: CpuidEntry, cpu: Cpu): CpuidEntry {
  if ((entry.eax & 0x1f) === 0) return entry
  const coreIds = Math.min(1 << (cpu.packageBits - cpu.threadBits), 64)
  return {
    ...entry,
    eax: ((entry.eax & 0x3fff) | ((sharers(entry, cpu) - 1) << 14) | ((coreIds - 1) << 26)) >>> 0,
  }
}

/** AMD's caches: as Intel's, without the cores. */
function cacheProperties(entry: CpuidEntry, cpu: Cpu): CpuidEntry {
  if ((entry.eax & 0x1f) === 0) return entry
  return { ...entry, eax: ((entry.eax & 0x3fff) | ((sharers(entry, cpu) - 1) << 14)) >>> 0 }
}

/** The first two levels (EAX[7:5]) are each core's own; the third is the whole package's. */
function sharers(entry: CpuidEntry, cpu: Cpu): number {
  const level = (entry.eax >> 5) & 7
  return Math.min(1 << (level < 3 ? cpu.threadBits : cpu.packageBits), 4096)
}

/** There is no enclave memory to go with SGX. */
function structuredFeatures(entry: CpuidEntry): CpuidEntry {
  if (entry.index !== 0) return entry
  return {
    ...entry,
    ebx: withBit(entry.ebx, EBX7_SGX, false),
    ecx: withBit(entry.ecx, ECX7_SGX_LC, false),
  }
}

function extendedFeatures(entry: CpuidEntry, cpu: Cpu): CpuidEntry {
  if (!cpu.amd) return entry
  return { ...entry, ecx: withBit(entry.ecx, ECX80000001_CMP_LEGACY, cpu.packageCpus > 1) }
}

/** AMD: ECX[15:12] is the size of the APIC id within a package, ECX[7:0] the number of logical processors less 1. */
function sizeIdentifiers(entry: CpuidEntry, cpu: Cpu): CpuidEntry {
  if (!cpu.amd) return entry
  const count = Math.min(cpu.packageCpus, 256) - 1
  return { ...entry, ecx: ((entry.ecx & 0xffff_0f00) | (cpu.packageBits << 12) | count) >>> 0 }
}

/** AMD: the APIC id, the core's id with its threads less 1, and the node's: one node for each package. */
function extendedApicId(entry: CpuidEntry, cpu: Cpu): CpuidEntry {
  const core = (cpu.apicId >>> cpu.threadBits) & 0xff
  return {
    ...entry,
    eax: cpu.apicId,
    ebx: ((cpu.threads - 1) << 8) | core,
    ecx: (cpu.apicId >>> cpu.packageBits) & 0xff,
    edx: 0,
  }
}

/** Leaves 0xB and 0x1F: threads, cores, end. EAX is how far to shift an APIC id right for that of the next level. */
function extendedTopology(leaf: number, cpu: Cpu): CpuidEntry[] {
  const level = (index: number, type: number, shift: number, count: number): CpuidEntry => ({
    function: leaf,
    index,
    flags: KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
    eax: shift,
    ebx: count,
    ecx: (type << 8) | index,
    edx: cpu.apicId,
  })
  return [
    level(0, LEVEL_SMT, cpu.threadBits, cpu.threads),
    level(1, LEVEL_CORE, cpu.packageBits, cpu.packageCpus),
    level(2, 0, 0, 0),
  ]
}

function withBit(value: number, bit: number, set: boolean): number {
  return (set ? value | bit : value & ~bit) >>> 0
}
