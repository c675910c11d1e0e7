import { le16, le32 } from '../../../util/bits.js'
import { type Aml, buffer, integer, join, nameString, withLength } from './aml.js'

// What methods are made of (ACPI 6.5, sections 20.2.5 and 20.2.6).

const EXT_OP_PREFIX = 0x5b
const OP_REGION_OP = 0x80
const FIELD_OP = 0x81
const LOCAL0_OP = 0x60
const ARG0_OP = 0x68
const STORE_OP = 0x70
const AND_OP = 0x7b
const OR_OP = 0x7d
const NOTIFY_OP = 0x86
const CREATE_DWORD_FIELD_OP = 0x8a
const LNOT_OP = 0x92
const LEQUAL_OP = 0x93
const IF_OP = 0xa0
const ELSE_OP = 0xa1

const SYSTEM_IO = 1
/** Field flags: accesses of 4 bytes, no lock, bits that are not written keep their value. */
const DWORD_ACCESS = 3

/** `LocalN`, 0 to 7. */
export function local(index: number): Aml {
  return [LOCAL0_OP + index]
}

/** `ArgN`, 0 to 6. */
export function argument(index: number): Aml {
  return [ARG0_OP + index]
}

/** A named object, or a method without arguments to be evaluated. */
export function reference(path: string): Aml {
  return nameString(path)
}

/** `Store (value, target)` */
export function store(value: Aml, target: Aml): Aml {
  return join(STORE_OP, value, target)
}

/** `And (a, b, target)`; the result is only the term's value without `target`. */
export function and(a: Aml, b: Aml, target: Aml = integer(0)): Aml {
  return join(AND_OP, a, b, target)
}

/** `Or (a, b, target)` */
export function or(a: Aml, b: Aml, target: Aml): Aml {
  return join(OR_OP, a, b, target)
}

/** `LEqual (a, b)` */
export function equal(a: Aml, b: Aml): Aml {
  return join(LEQUAL_OP, a, b)
}

/** `LNot (value)` */
export function not(value: Aml): Aml {
  return join(LNOT_OP, value)
}

/** `If (condition) { … }` */
export function when(condition: Aml, ...terms: Aml[]): Aml {
  return join(IF_OP, withLength(join(condition, ...terms)))
}

/** `Else { … }`, right after `when`. */
export function otherwise(...terms: Aml[]): Aml {
  return join(ELSE_OP, withLength(join(...terms)))
}

/** `Notify (path, value)` */
export function notify(path: string, value: number): Aml {
  return join(NOTIFY_OP, nameString(path), integer(value))
}

/** `CreateDWordField (source, byteIndex, name)` */
export function createDwordField(source: Aml, byteIndex: number, name: string): Aml {
  return join(CREATE_DWORD_FIELD_OP, source, integer(byteIndex), nameString(name))
}

/** `OperationRegion (name, SystemIO, port, count)` */
export function ioRegion(name: string, port: number, count: number): Aml {
  const region = join(nameString(name), SYSTEM_IO, integer(port), integer(count))
  return join(EXT_OP_PREFIX, OP_REGION_OP, region)
}

/** `Field (region, DWordAcc, NoLock, Preserve) { names of 32 bits each }` */
export function dwordField(region: string, names: readonly string[]): Aml {
  const bits = 32 // a length below 64, which counts no byte of its own
  const fields = names.map((name) => join(nameString(name), bits))
  return join(
    ...[EXT_OP_PREFIX, FIELD_OP],
    withLength(join(nameString(region), DWORD_ACCESS, ...fields)),
  )
}

/** `ToUUID ("33db4d5b-…")`: the first three groups have their bytes in reverse (ACPI 6.5, section 19.6.142). */
export function uuid(text: string): Aml {
  const groups = text.split('-').map((group) => Number.parseInt(group, 16))
  const [a, b, c] = groups as [number, number, number]
  const rest = text.split('-').slice(3).join('')
  const tail = rest.match(/../g)!.map((byte) => Number.parseInt(byte, 16))
  return buffer(join(le32(a), le16(b), le16(c), tail))
}
