/** `value` rounded up to a multiple of `unit`. Both safe non-negative integers; `unit` need not be a power of two. */
export function alignUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit
}

/** `value` rounded down to a multiple of `unit`. */
export function alignDown(value: number, unit: number): number {
  return Math.floor(value / unit) * unit
}

export function isPowerOfTwo(value: number): boolean {
  return Number.isSafeInteger(value) && value > 0 && 2 ** Math.round(Math.log2(value)) === value
}

/** The low `length` bytes of `value`, the lowest first. */
export function littleEndian(value: number | bigint, length: number): number[] {
  const bytes: number[] = []
  if (typeof value === 'bigint') {
    for (let i = 0; i < length; i++) bytes.push(Number((value >> BigInt(8 * i)) & 0xffn))
    return bytes
  }
  let rest = value
  for (let i = 0; i < length; i++) {
    const higher = Math.floor(rest / 256)
    bytes.push(rest - higher * 256)
    rest = higher
  }
  return bytes
}

/** The low 16 bits of `value`, the lowest byte first. */
export const le16 = (value: number | bigint): number[] => littleEndian(value, 2)
/** The low 32 bits of `value`, the lowest byte first. */
export const le32 = (value: number | bigint): number[] => littleEndian(value, 4)
/** The low 64 bits of `value`, the lowest byte first. */
export const le64 = (value: number | bigint): number[] => littleEndian(value, 8)

/** An unsigned little-endian integer of `width` bytes, up to 6. Bytes past the end are 0. */
export function readLittleEndian(bytes: ArrayLike<number>, offset: number, width: number): number {
  let value = 0
  for (let i = width - 1; i >= 0; i--) value = value * 256 + (bytes[offset + i] ?? 0)
  return value
}

/** `0xfee00000`: an address as messages and logs show it. */
export function hex(value: number | bigint): string {
  return value < 0 ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`
}
