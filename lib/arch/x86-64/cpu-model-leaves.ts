import { type CpuidEntry, KVM_CPUID_FLAG_SIGNIFCANT_INDEX } from '../../kvm/abi/cpuid.js'

/** The highest leaves that a baseline has. */
const MAX_BASIC = 0xd
const MAX_EXTENDED = 0x8000_0008
/** Bits of a guest-physical address: what any host with a terabyte of memory has. */
const PHYSICAL_BITS = 40
const LINEAR_BITS = 48

/** 'AuthenticAMD' and 'HygonGenuine' by their first four letters. */
const isAmd = (vendor: number | undefined) => vendor === 0x6874_7541 || vendor === 0x6f67_7948

/** Leaf 1's EAX: a family and model that have no errata for an operating system to work around. */
const SIGNATURE_AMD = 0x0006_0fb1
const SIGNATURE_INTEL = 0x0000_06fb
const CLFLUSH_64_BYTES = 0x0800

const BRAND_LEAVES = [0x8000_0002, 0x8000_0003, 0x8000_0004]

/** Leaves that tell of the host's own processor: caches, TLBs, power, performance counters, tracing, clocks. */
const HIDDEN: readonly number[] = [2, 3, 5, 9, 0xa]

/**
 * Replaces what tells one host's processor from another: signature, brand, caches, address bits. The vendor stays, as
 * systems choose instructions by it.
 */
export function fixedLeaves(entries: readonly CpuidEntry[], brand: string): CpuidEntry[] {
  const amd = isAmd(entries.find((entry) => entry.function === 0)?.ebx)
  const kept = entries.filter((entry) => isKept(entry)).map((entry) => fixed(entry, amd))
  return [...kept, ...brandLeaves(brand), ...(amd ? AMD_CACHES : INTEL_CACHES)]
}

function isKept({ function: leaf, index }: CpuidEntry): boolean {
  if (leaf >= 0x4000_0000 && leaf < 0x8000_0000) return true
  if (leaf > MAX_EXTENDED || (leaf > MAX_BASIC && leaf < 0x8000_0000)) return false
  if (leaf === 7) return index <= 1
  if ([4, 0x8000_0005, 0x8000_0006, ...BRAND_LEAVES].includes(leaf)) return false
  return !HIDDEN.includes(leaf)
}

function fixed(entry: CpuidEntry, amd: boolean): CpuidEntry {
  switch (entry.function) {
    case 0:
      return { ...entry, eax: MAX_BASIC }
    case 1:
      return { ...entry, eax: amd ? SIGNATURE_AMD : SIGNATURE_INTEL, ebx: CLFLUSH_64_BYTES }
    case 6:
      return { ...entry, ebx: 0, ecx: 0, edx: 0 }
    case 7:
      return entry.index === 0 ? { ...entry, eax: 1 } : { ...entry, ebx: 0, ecx: 0, edx: 0 }
    case 0xd:
      return entry.index === 1 ? { ...entry, ebx: 0, ecx: 0, edx: 0 } : entry
    case 0x8000_0000:
      return { ...entry, eax: MAX_EXTENDED }
    case 0x8000_0001:
      return { ...entry, eax: amd ? SIGNATURE_AMD : 0, ebx: 0 }
    case 0x8000_0007:
      return { ...entry, eax: 0, ebx: 0, ecx: 0 }
    case 0x8000_0008: {
      const bits = Math.min(entry.eax & 0xff, PHYSICAL_BITS)
      return { ...entry, eax: (LINEAR_BITS << 8) | bits, ecx: 0, edx: 0 }
    }
    default:
      return entry
  }
}

const leafOf = (
  leaf: number,
  [eax, ebx, ecx, edx]: readonly [number, number, number, number],
  index?: number,
): CpuidEntry => ({
  function: leaf,
  index: index ?? 0,
  flags: index === undefined ? 0 : KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
  ...{ eax, ebx, ecx, edx },
})

function brandLeaves(name: string): CpuidEntry[] {
  const text = Buffer.alloc(48)
  text.write(name, 'latin1')
  return BRAND_LEAVES.map((leaf, part) => {
    const at = (register: number) => text.readUInt32LE(16 * part + 4 * register)
    return leafOf(leaf, [at(0), at(1), at(2), at(3)])
  })
}

/** 32 KiB of 8 ways for data and for code, 2 MiB of 16 ways for both, lines of 64 bytes; whose they are is topology. */
const INTEL_CACHES: readonly CpuidEntry[] = [
  leafOf(4, [0x0121, 0x01c0_003f, 63, 0], 0),
  leafOf(4, [0x0122, 0x01c0_003f, 63, 0], 1),
  leafOf(4, [0x0143, 0x03c0_003f, 2047, 0], 2),
  leafOf(4, [0, 0, 0, 0], 3),
]

/** The same sizes in AMD's older form, which tells of no sharing. */
const AMD_CACHES: readonly CpuidEntry[] = [
  leafOf(0x8000_0005, [0, 0, 0x2008_0140, 0x2008_0140]),
  leafOf(0x8000_0006, [0, 0, 0x0800_8140, 0]),
]
