/** The numbers of a packet: hexadecimal, without a prefix, of at most 64 bits. @returns undefined for anything else */
export function parseHex(text: string | undefined): bigint | undefined {
  return text !== undefined && /^[\da-f]{1,16}$/i.test(text) ? BigInt(`0x${text}`) : undefined
}

/** The same, of numbers that are counts and lengths. */
export function parseHexNumber(text: string | undefined): number | undefined {
  const value = parseHex(text)
  return value !== undefined && value <= Number.MAX_SAFE_INTEGER ? Number(value) : undefined
}

/** Bytes as two digits each. @returns undefined for an odd number of digits, or what is none */
export function parseHexBytes(text: string): Buffer | undefined {
  return text.length % 2 === 0 && /^[\da-f]*$/i.test(text) ? Buffer.from(text, 'hex') : undefined
}

export const toHex = (value: number | bigint): string => value.toString(16)
