import { VmmError } from '../errors.js'
import {
  type CpuidEntry,
  KVM_MAX_CPUID_ENTRIES,
  KvmCpuid2,
  KvmCpuidEntry,
  KvmCpuidEntry2,
} from './abi/cpuid.js'
import { checkInteger } from './fd.js'

/**
 * The arguments of ioctls that take a count and then that many entries. Each function here turns plain objects into
 * such bytes or back.
 */

const UINT32 = 0xffffffff

/** A list with room for `count` entries, its count set. */
export function emptyList(header: number, entry: number, count: number): DataView {
  const view = new DataView(new ArrayBuffer(header + entry * count))
  view.setUint32(0, count, true)
  return view
}

export function bytesOf(view: DataView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
}

/** Runs a list-returning ioctl, with more room as long as the kernel wants more. */
export function readList(
  header: number,
  entry: number,
  start: number,
  call: (bytes: Uint8Array) => number,
): DataView {
  for (let count = start; ; count *= 2) {
    const view = emptyList(header, entry, count)
    try {
      call(bytesOf(view))
      return view
    } catch (error) {
      // The bound is far above anything that a kernel lists: it ends the loop if one always says E2BIG.
      if ((error as { code?: unknown }).code !== 'E2BIG' || count >= 0x10000) throw error
    }
  }
}

export function decodeCpuid(view: DataView): CpuidEntry[] {
  const entries: CpuidEntry[] = []
  for (let at = KvmCpuid2.size, left = view.getUint32(0, true); left > 0; left--) {
    entries.push({
      function: view.getUint32(at, true),
      index: view.getUint32(at + 4, true),
      flags: view.getUint32(at + 8, true),
      eax: view.getUint32(at + 12, true),
      ebx: view.getUint32(at + 16, true),
      ecx: view.getUint32(at + 20, true),
      edx: view.getUint32(at + 24, true),
    })
    at += KvmCpuidEntry2.size
  }
  return entries
}

export function encodeCpuid(entries: readonly CpuidEntry[], ioctl: string): Uint8Array {
  checkInteger(entries.length, `${ioctl} entries.length`, 0, KVM_MAX_CPUID_ENTRIES)
  const view = emptyList(KvmCpuid2.size, KvmCpuidEntry2.size, entries.length)
  entries.forEach((entry, index) => {
    const at = KvmCpuid2.size + index * KvmCpuidEntry2.size
    const { function: leaf, index: subleaf, flags, eax, ebx, ecx, edx } = entry
    const words = { function: leaf, index: subleaf, flags, eax, ebx, ecx, edx }
    Object.entries(words).forEach(([name, value], word) => {
      checkInteger(value, `${ioctl} entries[${index}].${name}`, 0, UINT32)
      view.setUint32(at + word * 4, value, true)
    })
  })
  return bytesOf(view)
}

/** KVM_SET_CPUID's form: no index, no flags. */
export function encodeLegacyCpuid(
  entries: readonly Omit<CpuidEntry, 'index' | 'flags'>[],
  ioctl: string,
): Uint8Array {
  checkInteger(entries.length, `${ioctl} entries.length`, 0, KVM_MAX_CPUID_ENTRIES)
  const view = emptyList(KvmCpuid2.size, KvmCpuidEntry.size, entries.length)
  entries.forEach((entry, index) => {
    const { function: leaf, eax, ebx, ecx, edx } = entry
    const at = KvmCpuid2.size + index * KvmCpuidEntry.size
    const target = new KvmCpuidEntry(bytesOf(view).subarray(at))
    target.assign({ function: leaf, eax, ebx, ecx, edx })
  })
  return bytesOf(view)
}

/** KVM_GET_MSR_INDEX_LIST's form: a count, then 32-bit numbers. */
export function decodeIndices(view: DataView): number[] {
  const count = view.getUint32(0, true)
  return Array.from({ length: count }, (_, index) => view.getUint32(4 + index * 4, true))
}

const MSRS_HEADER = 8
const MSR_ENTRY = 16

export function encodeMsrs(
  entries: readonly { index: number; data?: bigint }[],
  ioctl: string,
  maximum: number,
): DataView {
  checkInteger(entries.length, `${ioctl} entries.length`, 0, maximum)
  const view = emptyList(MSRS_HEADER, MSR_ENTRY, entries.length)
  entries.forEach(({ index, data = 0n }, position) => {
    const at = MSRS_HEADER + position * MSR_ENTRY
    checkInteger(index, `${ioctl} entries[${position}].index`, 0, UINT32)
    if (typeof data !== 'bigint' || BigInt.asUintN(64, data) !== data) {
      throw new VmmError(
        'ERR_INVALID_OPTION',
        `${ioctl} entries[${position}].data: expected a bigint from 0 to 2^64 - 1, got ${String(data)}`,
        {
          option: `entries[${position}].data`,
          value: data,
          expected: 'a bigint from 0 to 2^64 - 1',
        },
      )
    }
    view.setUint32(at, index, true)
    view.setBigUint64(at + 8, data, true)
  })
  return view
}

export function decodeMsrs(view: DataView): bigint[] {
  const count = (view.byteLength - MSRS_HEADER) / MSR_ENTRY
  return Array.from({ length: count }, (_, index) =>
    view.getBigUint64(MSRS_HEADER + index * MSR_ENTRY + 8, true),
  )
}

/** KVM_GET_MSRS and KVM_SET_MSRS stop at the first MSR that the kernel refuses, and say how far they got. */
export function checkMsrsDone(ioctl: string, done: number, indices: readonly number[]): void {
  if (done >= indices.length) return
  const index = indices[done]!
  throw new VmmError(
    'ERR_KVM_UNSUPPORTED',
    `${ioctl}: MSR 0x${index.toString(16)} (entry ${done}) was refused`,
    {
      option: `entries[${done}]`,
      value: index,
      expected: 'an MSR that the vCPU has, and a value that it takes',
    },
  )
}
