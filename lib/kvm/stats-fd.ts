import type { NativeStats } from '../binding.js'
import { VmmError } from '../errors.js'
import * as abi from './abi/stats.js'

/** One statistic of a VM or vCPU. */
export interface Stat {
  /** The kernel's. */
  name: string
  /** KVM_STATS_TYPE_*. */
  type: 'cumulative' | 'instant' | 'peak' | 'linear-histogram' | 'log-histogram' | 'unknown'
  /** KVM_STATS_UNIT_*. */
  unit: 'none' | 'bytes' | 'seconds' | 'cycles' | 'boolean' | 'unknown'
  /** Values count in units of `base` to the power of `exponent`: seconds with 10 and -9 are nanoseconds. */
  base: 10 | 2
  /** Of the unit, by its base of 2 or 10. */
  exponent: number
  /** The width of a linear histogram's buckets. */
  bucketSize: number
  /** One value, or a histogram's buckets. */
  values: bigint[]
}

const TYPES: Record<number, Stat['type']> = {
  [abi.KVM_STATS_TYPE_CUMULATIVE]: 'cumulative',
  [abi.KVM_STATS_TYPE_INSTANT]: 'instant',
  [abi.KVM_STATS_TYPE_PEAK]: 'peak',
  [abi.KVM_STATS_TYPE_LINEAR_HIST]: 'linear-histogram',
  [abi.KVM_STATS_TYPE_LOG_HIST]: 'log-histogram',
}
const UNITS: Record<number, Stat['unit']> = {
  [abi.KVM_STATS_UNIT_NONE]: 'none',
  [abi.KVM_STATS_UNIT_BYTES]: 'bytes',
  [abi.KVM_STATS_UNIT_SECONDS]: 'seconds',
  [abi.KVM_STATS_UNIT_CYCLES]: 'cycles',
  [abi.KVM_STATS_UNIT_BOOLEAN]: 'boolean',
}

/** Far above what a kernel has: bounds what a damaged header could ask for. */
const MAXIMUM_BYTES = 1 << 20

type Description = Omit<Stat, 'values'> & { offset: number; count: number }

interface Layout {
  readonly id: string
  readonly dataOffset: number
  readonly descriptions: readonly Description[]
}

/**
 * The binary statistics of a VM or vCPU (KVM API, KVM_GET_STATS_FD). Every getter and method but `close()` throws
 * `ERR_KVM_UNSUPPORTED` if the kernel describes them in a way that makes no sense.
 */
export class StatsFd implements Disposable {
  readonly #native: NativeStats
  #layout: Layout | undefined

  constructor(native: NativeStats) {
    this.#native = native
  }

  /** `'kvm-1234'`, `'kvm-1234/vcpu-0'`: the kernel's name for whose they are. */
  get id(): string {
    return this.#knownLayout().id
  }

  /** The descriptor; -1 once closed. */
  get fd(): number {
    return this.#native.fd
  }

  /** Whether `close()` was called. */
  get closed(): boolean {
    return this.#native.fd < 0
  }

  /** Every statistic as it is now. */
  read(): Stat[] {
    const { descriptions, dataOffset } = this.#knownLayout()
    const end = descriptions.reduce(
      (max, { offset, count }) => Math.max(max, offset + count * 8),
      0,
    )
    const data = this.#bytes(dataOffset, end)
    const view = new DataView(data.buffer)
    return descriptions.map(({ offset, count, ...description }) => ({
      ...description,
      values: Array.from({ length: count }, (_, index) =>
        view.getBigUint64(offset + index * 8, true),
      ),
    }))
  }

  /** May be called again. */
  close(): void {
    this.#native.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** Read when it is first needed: most who open statistics never look. */
  #knownLayout(): Layout {
    if (this.#layout !== undefined) return this.#layout
    const header = new abi.KvmStatsHeader(this.#bytes(0, abi.KvmStatsHeader.size))
    this.#layout = {
      id: text(this.#bytes(header.id_offset, header.name_size)),
      dataOffset: header.data_offset,
      descriptions: this.#describe(header),
    }
    return this.#layout
  }

  #describe(header: abi.KvmStatsHeader): Description[] {
    const size = abi.KvmStatsDesc.size + header.name_size
    const block = this.#bytes(header.desc_offset, size * header.num_desc)
    return Array.from({ length: header.num_desc }, (_, index) => {
      const bytes = block.subarray(index * size, (index + 1) * size)
      const { flags, exponent, size: count, offset, bucket_size } = new abi.KvmStatsDesc(bytes)
      return {
        name: text(bytes.subarray(abi.KvmStatsDesc.size)),
        type: TYPES[flags & abi.KVM_STATS_TYPE_MASK] ?? 'unknown',
        unit: UNITS[flags & abi.KVM_STATS_UNIT_MASK] ?? 'unknown',
        base: (flags & abi.KVM_STATS_BASE_MASK) === abi.KVM_STATS_BASE_POW2 ? 2 : 10,
        exponent,
        bucketSize: bucket_size,
        offset,
        count,
      }
    })
  }

  #bytes(offset: number, length: number): Uint8Array {
    if (length > MAXIMUM_BYTES)
      throw new VmmError('ERR_KVM_UNSUPPORTED', `statistics of ${length} bytes`)
    const bytes = new Uint8Array(length)
    if (this.#native.read(offset, bytes) === length) return bytes
    throw new VmmError('ERR_KVM_UNSUPPORTED', `the statistics end before byte ${offset + length}`)
  }
}

function text(bytes: Uint8Array): string {
  const end = bytes.indexOf(0)
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end))
}
