import { le16, le32, le64, littleEndian } from '../../../util/bits.js'

/**
 * An assembler for ACPI Machine Language (ACPI 6.5, chapter 20): each function gives the bytes of one term.
 * The bytes of what it encloses are arguments, so that tables read as ASL does.
 */
export type Aml = readonly number[]

/** The bytes of some terms one behind the other. Thousands are joined for each machine: spreading them takes ten times as long. */
export function join(...parts: readonly (number | Aml)[]): Aml {
  return ([] as number[]).concat(...parts)
}

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
  return join(NAME_OP, nameString(path), value)
}

/** `Scope (path) { … }` */
export function scope(path: string, ...terms: Aml[]): Aml {
  return join(SCOPE_OP, withLength(join(nameString(path), ...terms)))
}

/** `Device (path) { … }` */
export function device(path: string, ...terms: Aml[]): Aml {
  return join(EXT_OP_PREFIX, DEVICE_OP, withLength(join(nameString(path), ...terms)))
}

/** `Method (path, argumentCount, NotSerialized) { … }` */
export function method(path: string, argumentCount: number, ...terms: Aml[]): Aml {
  return join(METHOD_OP, withLength(join(nameString(path), argumentCount & 7, ...terms)))
}

/** `Method (path, argumentCount, Serialized) { … }`, as a method that makes names of its own has to be. */
export function serializedMethod(path: string, argumentCount: number, ...terms: Aml[]): Aml {
  const flags = (argumentCount & 7) | SERIALIZED
  return join(METHOD_OP, withLength(join(nameString(path), flags, ...terms)))
}

/** `Return (value)` */
export function returns(value: Aml): Aml {
  return join(RETURN_OP, value)
}

/** `Package () { … }` of at most 255 elements. */
export function pkg(...elements: Aml[]): Aml {
  return join(PACKAGE_OP, withLength(join(elements.length, ...elements)))
}

/** `Buffer () { … }` */
export function buffer(bytes: Aml): Aml {
  return join(BUFFER_OP, withLength(join(integer(bytes.length), bytes)))
}

/** An integer below 2^64, in the shortest form. */
export function integer(value: number | bigint): Aml {
  if (value < 2) return [Number(value) === 0 ? ZERO_OP : ONE_OP]
  if (value < 2 ** 8) return [BYTE_PREFIX, Number(value)]
  if (value < 2 ** 16) return join(WORD_PREFIX, le16(value))
  if (value < 2 ** 32) return join(DWORD_PREFIX, le32(value))
  return join(QWORD_PREFIX, le64(value))
}

/** A string of ASCII without NUL. */
export function string(text: string): Aml {
  return join(STRING_PREFIX, ascii(text), 0)
}

/** `EisaId ("PNP0501")`: three letters of five bits each and four hexadecimal digits (ACPI 6.5, section 19.3.4). */
export function eisaId(id: string): Aml {
  const [a, b, c] = ascii(id).map((code) => code - 0x40) as [number, number, number]
  const vendor = (a << 10) | (b << 5) | c
  const product = Number.parseInt(id.slice(3), 16)
  return [DWORD_PREFIX, vendor >> 8, vendor & 0xff, product >> 8, product & 0xff]
}

export function ascii(text: string): number[] {
  const bytes: number[] = []
  for (let i = 0; i < text.length; i++) bytes.push(text.charCodeAt(i) & 0x7f)
  return bytes
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
  const segments = ascii(names.map((part) => part.padEnd(4, '_')).join(''))
  return join(isRooted ? [ROOT_CHAR] : [], namePrefix(names.length), segments)
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
    if (extra === 0 && length < 1 << 6) return join(length, body)
    if (extra > 0 && length < 2 ** (4 + 8 * extra)) {
      return join((extra << 6) | (length & 0xf), littleEndian(length >>> 4, extra), body)
    }
  }
  throw new RangeError(`an AML package of ${body.length} bytes; at most 2^28`)
}
