/** Copies within `bytes` from `offset` before `to`; the two may overlap, and then the copy repeats itself. */
export function copyMatch(bytes: Uint8Array, to: number, offset: number, length: number): void {
  if (offset >= length && length > 32) {
    bytes.copyWithin(to, to - offset, to - offset + length)
    return
  }
  for (let i = to; i < to + length; i++) bytes[i] = bytes[i - offset]!
}
