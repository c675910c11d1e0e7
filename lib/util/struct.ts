import { invalidOption, VmmError } from '../errors.js'

/** One field of a {@link struct}: where it lies and how it is read and written. */
export interface Field<T, Init = T> {
  /** Bytes from the start of the struct. */
  readonly offset: number
  /** Bytes. */
  readonly size: number
  get(view: DataView, base: number): T
  /** Throws `ERR_INVALID_OPTION` naming `path` for a value that the field cannot hold. */
  set(view: DataView, base: number, value: Init, path: string): void
}

/** A field that makes an {@link array}: `u32`, or `(offset) => nested(KvmSegment, offset)`. */
export type Kind<T, Init = T> = (offset: number) => Field<T, Init>

type Fields = Readonly<Record<string, Field<unknown, never>>>
type ValueOf<F> = F extends Field<infer T, infer _> ? T : never
type InitOf<F> = F extends Field<infer _, infer I> ? I : never

/** The fields by name, as properties that read and write the bytes. */
export type StructFields<F extends Fields> = { -readonly [K in keyof F]: ValueOf<F[K]> }

/** What a struct can be filled from: some of its fields. Fields left out are zero in a new struct. */
export type StructInit<F extends Fields> = { readonly [K in keyof F]?: InitOf<F[K]> }

/** What every struct object has besides its fields. */
export interface StructBase<F extends Fields> {
  /** The bytes themselves: what an ioctl reads or writes. */
  readonly bytes: Uint8Array
  /** Sets some fields, one after the other. */
  assign(values: StructInit<F>): this
  /** All fields as a plain object, nested ones too: for printing and comparing. */
  toObject(): Record<string, unknown>
}

export type StructObject<F extends Fields> = StructBase<F> & StructFields<F>

/** A struct's class. */
export interface Struct<F extends Fields> {
  /** Over `bytes` (at least `size` of them, not copied), or over new zeros. */
  new (bytes?: Uint8Array): StructObject<F>
  /** The C name. */
  readonly structName: string
  /** Bytes, as `sizeof`. */
  readonly size: number
  readonly fields: F
  /** `value` itself if it is of this class, else a new struct filled from it. */
  from(value: StructObject<F> | StructInit<F>): StructObject<F>
}

/** The object type of a struct's class: `type KvmRegs = StructOf<typeof KvmRegs>`. */
export type StructOf<S> = S extends Struct<infer F> ? StructObject<F> : never
/** What {@link Struct.from} takes. */
export type InitOfStruct<S> = S extends Struct<infer F> ? StructObject<F> | StructInit<F> : never

/**
 * A view class over the bytes of a C struct, whose layout is checked when it is declared:
 * `struct('kvm_dtable', 16, { base: u64(0), limit: u16(8) })`. Little-endian, as all of x86 is.
 */
export function struct<const F extends Fields>(
  structName: string,
  size: number,
  fields: F,
): Struct<F> {
  // By the first object: there are hundreds of fields in layouts of which a process uses a few.
  let hasProperties = false
  class View {
    static readonly structName = structName
    static readonly size = size
    static readonly fields = fields
    readonly bytes: Uint8Array
    readonly view: DataView

    constructor(bytes: Uint8Array = new Uint8Array(size)) {
      if (!(bytes instanceof Uint8Array) || bytes.byteLength < size) {
        throw invalidOption(structName, bytes, `a Uint8Array of at least ${size} bytes`)
      }
      if (!hasProperties) {
        defineProperties(View.prototype, structName, fields)
        hasProperties = true
      }
      this.bytes = bytes
      this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    }

    static from(value: unknown): View {
      return value instanceof View ? value : new View().assign(value)
    }

    assign(values: unknown): this {
      if (typeof values !== 'object' || values === null) {
        throw invalidOption(structName, values, 'an object of its fields')
      }
      for (const [name, value] of Object.entries(values)) {
        const field = Object.hasOwn(fields, name) ? fields[name] : undefined
        if (!field) throw invalidOption(`${structName}.${name}`, value, 'a field of the struct')
        if (value !== undefined) field.set(this.view, 0, value as never, `${structName}.${name}`)
      }
      return this
    }

    toObject(): Record<string, unknown> {
      return Object.fromEntries(
        Object.entries(fields).map(([name, field]) => [name, plain(field.get(this.view, 0))]),
      )
    }
  }
  for (const [name, field] of Object.entries(fields)) {
    if (field.offset < 0 || field.offset + field.size > size) {
      throw new VmmError(
        'ERR_STATE',
        `${structName}.${name} lies outside the struct's ${size} bytes`,
      )
    }
  }
  return View as unknown as Struct<F>
}

function defineProperties(
  prototype: { readonly view: DataView },
  structName: string,
  fields: Fields,
): void {
  for (const [name, field] of Object.entries(fields)) {
    const path = `${structName}.${name}`
    Object.defineProperty(prototype, name, {
      enumerable: true,
      get(this: typeof prototype) {
        return field.get(this.view, 0)
      },
      set(this: typeof prototype, value: unknown) {
        field.set(this.view, 0, value as never, path)
      },
    })
  }
}

function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return [...value]
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value === 'object' && value !== null && 'toObject' in value) {
    return (value as StructBase<Fields>).toObject()
  }
  return value
}

function checked(value: unknown, path: string, minimum: number, maximum: number): number {
  if (
    typeof value === 'number' &&
    Number.isInteger(value) &&
    value >= minimum &&
    value <= maximum
  ) {
    return value
  }
  throw invalidOption(path, value, `an integer from ${minimum} to ${maximum}`)
}

function checkedBig(value: unknown, path: string, signed: boolean): bigint {
  if (
    typeof value === 'bigint' &&
    (signed ? BigInt.asIntN(64, value) : BigInt.asUintN(64, value)) === value
  ) {
    return value
  }
  throw invalidOption(
    path,
    value,
    signed ? 'a bigint from -2^63 to 2^63 - 1' : 'a bigint from 0 to 2^64 - 1',
  )
}

export const u8: Kind<number> = (offset) => ({
  offset,
  size: 1,
  get: (view, base) => view.getUint8(base + offset),
  set: (view, base, value, path) => view.setUint8(base + offset, checked(value, path, 0, 0xff)),
})

export const u16: Kind<number> = (offset) => ({
  offset,
  size: 2,
  get: (view, base) => view.getUint16(base + offset, true),
  set: (view, base, value, path) =>
    view.setUint16(base + offset, checked(value, path, 0, 0xffff), true),
})

export const s16: Kind<number> = (offset) => ({
  offset,
  size: 2,
  get: (view, base) => view.getInt16(base + offset, true),
  set: (view, base, value, path) =>
    view.setInt16(base + offset, checked(value, path, -0x8000, 0x7fff), true),
})

export const u32: Kind<number> = (offset) => ({
  offset,
  size: 4,
  get: (view, base) => view.getUint32(base + offset, true),
  set: (view, base, value, path) =>
    view.setUint32(base + offset, checked(value, path, 0, 0xffffffff), true),
})

export const s32: Kind<number> = (offset) => ({
  offset,
  size: 4,
  get: (view, base) => view.getInt32(base + offset, true),
  set: (view, base, value, path) =>
    view.setInt32(base + offset, checked(value, path, -0x80000000, 0x7fffffff), true),
})

export const u64: Kind<bigint> = (offset) => ({
  offset,
  size: 8,
  get: (view, base) => view.getBigUint64(base + offset, true),
  set: (view, base, value, path) =>
    view.setBigUint64(base + offset, checkedBig(value, path, false), true),
})

export const s64: Kind<bigint> = (offset) => ({
  offset,
  size: 8,
  get: (view, base) => view.getBigInt64(base + offset, true),
  set: (view, base, value, path) =>
    view.setBigInt64(base + offset, checkedBig(value, path, true), true),
})

/**
 * A 64-bit guest-physical address or size as a `number`. Reading one of 2^53 or more throws `ERR_OUT_OF_RANGE`.
 */
export const address64: Kind<number> = (offset) => ({
  offset,
  size: 8,
  get: (view, base) => {
    const value =
      view.getUint32(base + offset + 4, true) * 0x1_0000_0000 + view.getUint32(base + offset, true)
    if (Number.isSafeInteger(value)) return value
    throw new VmmError('ERR_OUT_OF_RANGE', `a 64-bit address of ${value} is 2^53 or more`)
  },
  set: (view, base, value, path) => {
    const address = checked(value, path, 0, Number.MAX_SAFE_INTEGER)
    view.setUint32(base + offset, address >>> 0, true)
    view.setUint32(base + offset + 4, Math.floor(address / 0x1_0000_0000), true)
  },
})

/** Bytes as a live view. Set from a Uint8Array of at most that length; the rest becomes zero. */
export function bytes(offset: number, length: number): Field<Uint8Array> {
  return {
    offset,
    size: length,
    get: (view, base) => new Uint8Array(view.buffer, view.byteOffset + base + offset, length),
    set: (view, base, value, path) => {
      if (!(value instanceof Uint8Array) || value.byteLength > length) {
        throw invalidOption(path, value, `a Uint8Array of at most ${length} bytes`)
      }
      const target = new Uint8Array(view.buffer, view.byteOffset + base + offset, length)
      target.set(value)
      target.fill(0, value.byteLength)
    },
  }
}

/** `count` fields of one kind in a row: `array(u64, 0, 4)`. Reading gives a copy; set from at most `count` values. */
export function array<T, I>(
  kind: Kind<T, I>,
  offset: number,
  count: number,
  stride = kind(0).size,
): Field<T[], readonly I[]> {
  const items = Array.from({ length: count }, (_, index) => kind(offset + index * stride))
  return {
    offset,
    size: count * stride,
    get: (view, base) => items.map((item) => item.get(view, base)),
    set: (view, base, values, path) => {
      if (!Array.isArray(values) || values.length > count) {
        throw invalidOption(path, values, `an array of at most ${count}`)
      }
      values.forEach((value, index) => {
        items[index]!.set(view, base, value, `${path}[${index}]`)
      })
      const end = view.byteOffset + base + offset + count * stride
      const start = view.byteOffset + base + offset + values.length * stride
      new Uint8Array(view.buffer, start, end - start).fill(0)
    },
  }
}

/** A struct within a struct. Reading gives a live view; set from one, or from some of its fields (the rest as they are). */
export function nested<F extends Fields>(
  type: Struct<F>,
  offset: number,
): Field<StructObject<F>, StructObject<F> | StructInit<F>> {
  const at = (view: DataView, base: number) =>
    new type(new Uint8Array(view.buffer, view.byteOffset + base + offset, type.size))
  return {
    offset,
    size: type.size,
    get: at,
    set: (view, base, value) => {
      const target = at(view, base)
      if (value instanceof type) target.bytes.set(value.bytes.subarray(0, type.size))
      else target.assign(value as StructInit<F>)
    },
  }
}
