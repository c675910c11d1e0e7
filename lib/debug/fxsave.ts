const FTW = 4
const ST0 = 32
const XSTATE_BV = 512
const X87_AND_SSE = 3

/** Tags of the x87 tag word, two bits for each register (Intel SDM vol. 1, section 8.1.7). */
const TAG_VALID = 0
const TAG_ZERO = 1
const TAG_SPECIAL = 2
const TAG_EMPTY = 3

/** The FXSAVE area, with which an XSAVE area begins (Intel SDM vol. 1, section 10.5.1). */
export class FxsaveArea {
  readonly area: Uint8Array
  readonly #view: DataView

  /** @param area what KVM_GET_XSAVE gives */
  constructor(area: Uint8Array) {
    this.area = area
    this.#view = new DataView(area.buffer, area.byteOffset, area.byteLength)
  }

  read(offset: number, bytes: number): bigint {
    return this.area
      .subarray(offset, offset + bytes)
      .reduceRight((total, byte) => (total << 8n) | BigInt(byte), 0n)
  }

  /** Bits beyond `bytes` are cut off. */
  write(offset: number, bytes: number, value: bigint): void {
    for (let i = 0; i < bytes; i++) {
      this.area[offset + i] = Number((value >> BigInt(8 * i)) & 0xffn)
    }
    this.#use()
  }

  /** The tag word in full; the area has only a bit for each register. */
  get tagWord(): number {
    const used = this.area[FTW]!
    const top = (this.#view.getUint16(2, true) >> 11) & 7
    let word = 0
    for (let physical = 0; physical < 8; physical++) {
      const tag = used & (1 << physical) ? this.#tag((physical - top + 8) & 7) : TAG_EMPTY
      word |= tag << (2 * physical)
    }
    return word
  }

  set tagWord(word: number) {
    let used = 0
    for (let physical = 0; physical < 8; physical++) {
      if (((word >> (2 * physical)) & 3) !== TAG_EMPTY) used |= 1 << physical
    }
    this.area[FTW] = used
    this.#use()
  }

  #tag(register: number): number {
    const at = ST0 + 16 * register
    const exponent = this.#view.getUint16(at + 8, true) & 0x7fff
    const mantissa = this.#view.getBigUint64(at, true)
    if (exponent === 0x7fff) return TAG_SPECIAL
    if (exponent === 0) return mantissa === 0n ? TAG_ZERO : TAG_SPECIAL
    return mantissa >> 63n ? TAG_VALID : TAG_SPECIAL
  }

  /** What the processor restores: a part whose bit is 0 gets its initial values. */
  #use(): void {
    this.area[XSTATE_BV]! |= X87_AND_SSE
  }
}
