/** What a debug register stops at. */
export type HardwareAccess = 'execute' | 'write' | 'read' | 'read-write'

/** R/W0 to R/W3 of DR7 (Intel SDM vol. 3, section 18.2.4). For reads alone there is none: writes stop too. */
const RW: Readonly<Record<HardwareAccess, bigint>> = {
  execute: 0n,
  write: 1n,
  read: 3n,
  'read-write': 3n,
}
const LEN: ReadonlyMap<number, bigint> = new Map([
  [1, 0n],
  [2, 1n],
  [8, 2n],
  [4, 3n],
])

const COUNT = 4
/** Bit 10 is always set; LE and GE make data breakpoints exact on old processors. */
const DR7_RESERVED = 0x400n
const DR7_EXACT = 0x300n
/** B0 to B3 of DR6: which registers' conditions were met. */
const DR6_HITS = 0xfn
/** BS: a single step. */
const DR6_SINGLE_STEP = 1n << 14n

export interface HardwarePoint {
  readonly access: HardwareAccess
  readonly address: bigint
  readonly length: number
}

/** The four debug registers, shared by breakpoints and watchpoints. */
export class DebugRegisters {
  readonly #slots: (HardwarePoint | undefined)[] = new Array<undefined>(COUNT).fill(undefined)

  get used(): boolean {
    return this.#slots.some((slot) => slot !== undefined)
  }

  /**
   * Does nothing if it is there already.
   * @returns false for a length that no register can have, one that `address` is no multiple of, or if none is free
   */
  insert(point: HardwarePoint): boolean {
    const { access, address, length } = point
    if (this.#find(point) >= 0) return true
    const fits = access === 'execute' ? length === 1 : LEN.has(length)
    const free = this.#slots.indexOf(undefined)
    if (!fits || address % BigInt(length) !== 0n || free < 0) return false
    this.#slots[free] = point
    return true
  }

  /** Does nothing if it is not there. */
  remove(point: HardwarePoint): void {
    const index = this.#find(point)
    if (index >= 0) this.#slots[index] = undefined
  }

  clear(): void {
    this.#slots.fill(undefined)
  }

  /** DR0 to DR7 as KVM_SET_GUEST_DEBUG takes them. */
  encode(): bigint[] {
    let dr7 = DR7_RESERVED | DR7_EXACT
    for (const [index, slot] of this.#slots.entries()) {
      if (slot === undefined) continue
      dr7 |= 2n << BigInt(2 * index)
      dr7 |= (RW[slot.access] | (LEN.get(slot.length)! << 2n)) << BigInt(16 + 4 * index)
    }
    return [...this.#slots.map((slot) => slot?.address ?? 0n), 0n, 0n, 0n, dr7]
  }

  /** What DR6 says was met, of what is here; a data access before an instruction. */
  hit(dr6: bigint): HardwarePoint | undefined {
    const hits = this.#slots.filter((_, index) => dr6 & DR6_HITS & (1n << BigInt(index)))
    return hits.find((slot) => slot && slot.access !== 'execute') ?? hits.find(Boolean)
  }

  #find({ access, address, length }: HardwarePoint): number {
    return this.#slots.findIndex(
      (slot) => slot?.access === access && slot.address === address && slot.length === length,
    )
  }
}

export const isSingleStep = (dr6: bigint): boolean => (dr6 & DR6_SINGLE_STEP) !== 0n
