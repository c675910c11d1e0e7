import { le16, le32, le64, littleEndian } from '../../../util/bits.js'

/**
 * An assembler for ACPI Machine Language (ACPI 6.5, chapter 20): each function gives the bytes of one term.
 * The bytes of what it encloses are arguments, so that tables read as ASL does.
 */
export type Aml = readonly number[]

// Opcodes and prefixes (ACPI 6.5, section 20.2 and table 20.2).
const ZERO_OP = 0x00
const ONE_OP = 0x01
const NAME_OP = 0x08
const BYTE_PREFIX = 0x0a
const WORD_PREFIX = 0x0b
const DWORD_PREFIX = 0x0c
const STRING_PREFIX = 0x0d
const QWORD_PREFIX = 0x0e
const SCOPE_OP = 0x10
const BUFFER_OP = 0x11
const PACKAGE_OP = 0x12
const METHOD_OP = 0x14
const DUAL_NAME_PREFIX = 0x2e
const MULTI_NAME_PREFIX = 0x2f
const EXT_OP_PREFIX = 0x5b
const DEVICE_OP = 0x82
const ROOT_CHAR = 0x5c
const RETURN_OP = 0xa4
const SERIALIZED = 1 << 3

/** `Name (path, value)` */
export function name(path: string, value: Aml): Aml {
  return [NAME_OP, ...nameString(path), ...value]
}

/** `Scope (path) { … }` */
export function scope(path: string, ...terms: Aml[]): Aml {
  return [SCOPE_OP, ...withLength([...nameString(path), ...terms.flat()])]
}

/** `Device (path) { … }` */
export function device(path: string, ...terms: Aml[]): Aml {
  return [EXT_OP_PREFIX, DEVICE_OP, ...withLength([...nameString(path), ...terms.flat()])]
}

/** `Method (path, argumentCount, NotSerialized) { … }` */
export function method(path: string, argumentCount: number, ...terms: Aml[]): Aml {
  return [METHOD_OP, ...withLength([...nameString(path), argumentCount & 7, ...terms.flat()])]
}

/** `Method (path, argumentCount, Serialized) { … }`, as a method that makes names of its own has to be. */
export function serializedMethod(path: string, argumentCount: number, ...terms: Aml[]): Aml {
  const flags = (argumentCount & 7) | SERIALIZED
  return [METHOD_OP, ...withLength([...nameString(path), flags, ...terms.flat()])]
}

/** `Return (value)` */
export function returns(value: Aml): Aml {
  return [RETURN_OP, ...value]
}

/** `Package () { … }` of at most 255 elements. */
export function pkg(...elements: Aml[]): Aml {
  return [PACKAGE_OP, ...withLength([elements.length, ...elements.flat()])]
}

/** `Buffer () { … }` */
export function buffer(bytes: Aml): Aml {
  return [BUFFER_OP, ...withLength([...integer(bytes.length), ...bytes])]
}

/** An integer below 2^64, in the shortest form. */
export function integer(value: number | bigint): Aml {
  const big = BigInt(value)
  if (big === 0n) return [ZERO_OP]
  if (big === 1n) return [ONE_OP]
  if (big < 1n << 8n) return [BYTE_PREFIX, ...littleEndian(big, 1)]
  if (big < 1n << 16n) return [WORD_PREFIX, ...le16(big)]
  if (big < 1n << 32n) return [DWORD_PREFIX, ...le32(big)]
  return [QWORD_PREFIX, ...le64(big)]
}

/** A string of ASCII without NUL. */
export function string(text: string): Aml {
  return [STRING_PREFIX, ...ascii(text), 0]
}

/** `EisaId ("PNP0501")`: three letters of five bits each and four hexadecimal digits (ACPI 6.5, section 19.3.4). */
export function eisaId(id: string): Aml {
  const [a, b, c] = ascii(id).map((code) => code - 0x40) as [number, number, number]
  const vendor = (a << 10) | (b << 5) | c
  const product = Number.parseInt(id.slice(3), 16)
  return [DWORD_PREFIX, vendor >> 8, vendor & 0xff, product >> 8, product & 0xff]
}

export function ascii(text: string): number[] {
  return [...text].map((character) => character.charCodeAt(0) & 0x7f)
}

/** The digits that tell devices of one kind apart by their names. */
export function hexDigits(value: number, digits: number): string {
  return value.toString(16).toUpperCase().padStart(digits, '0')
}

/** `\_SB.COM1`: segments of four characters, short ones filled up with underscores. */
export function nameString(path: string): Aml {
  const isRooted = path.startsWith('\\')
  const names = path
    .slice(isRooted ? 1 : 0)
    .split('.')
    .filter((part) => part !== '')
  const segments = names.flatMap((part) => ascii(part.padEnd(4, '_')))
  return [...(isRooted ? [ROOT_CHAR] : []), ...namePrefix(names.length), ...segments]
}

function namePrefix(count: number): Aml {
  if (count === 0) return [0]
  if (count === 1) return []
  return count === 2 ? [DUAL_NAME_PREFIX] : [MULTI_NAME_PREFIX, count]
}

/** PkgLength counts its own bytes too; the first has the number of those after it in its two upper bits (20.2.4). */
export function withLength(body: Aml): Aml {
  for (let extra = 0; extra < 4; extra++) {
    const length = body.length + 1 + extra
    if (extra === 0 && length < 1 << 6) return [length, ...body]
    if (extra > 0 && length < 2 ** (4 + 8 * extra)) {
      return [(extra << 6) | (length & 0xf), ...littleEndian(length >>> 4, extra), ...body]
    }
  }
  throw new RangeError(`an AML package of ${body.length} bytes; at most 2^28`)
}
