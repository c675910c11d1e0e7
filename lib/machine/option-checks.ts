import { invalidOption } from '../errors.js'
import { parseByteSize } from '../util/byte-size.js'

// Small on purpose: a schema library costs a program that boots a guest more time than all the rest of its start.

/**
 * Judges one option and gives what the rest of the program is to see.
 * @param name how errors call it: `disks[1]`
 * @throws VmmError `ERR_INVALID_OPTION`
 */
export type Check<T> = (value: unknown, name: string) => T

type Checked<S extends Readonly<Record<string, Check<unknown>>>> = {
  -readonly [K in keyof S]: ReturnType<S[K]>
}

/** A value that `accept` takes, as it is. */
export function value<T>(expected: string, accept: (value: unknown) => boolean): Check<T> {
  return (given, name) => {
    if (!accept(given)) throw invalidOption(name, given, expected)
    return given as T
  }
}

export const string: Check<string> = value('a string', (given) => typeof given === 'string')

export const boolean: Check<boolean> = value('a boolean', (given) => typeof given === 'boolean')

export const abortSignal: Check<AbortSignal> = value(
  'an AbortSignal',
  (given) => given instanceof AbortSignal,
)

/** Milliseconds: more than setTimeout takes are for ever. */
export const timeout: Check<number> = value(
  'milliseconds, a number above 0',
  (given) => typeof given === 'number' && Number.isFinite(given) && given > 0,
)

/** A whole number in a range that includes its ends. */
export function integer(min: number, max = Number.MAX_SAFE_INTEGER): Check<number> {
  const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`
  return value(
    `a whole number ${range}`,
    (given) => Number.isSafeInteger(given) && (given as number) >= min && (given as number) <= max,
  )
}

/** Sizes are given in bytes or as text; either way the rest of the program sees bytes. */
export function byteSize(
  expected: () => string,
  accept: (bytes: number) => boolean,
): Check<number> {
  return (given, name) => {
    const bytes = typeof given === 'string' ? parseByteSize(given) : given
    if (typeof bytes === 'number' && Number.isSafeInteger(bytes) && accept(bytes)) return bytes
    throw invalidOption(name, given, expected())
  }
}

export function oneOf<const T extends string>(...choices: readonly T[]): Check<T> {
  const quoted = choices.map((choice) => `'${choice}'`)
  const expected = `${quoted.slice(0, -1).join(', ')} or ${quoted.at(-1)}`
  return value(expected, (given) => choices.includes(given as T))
}

export function list<T>(expected: string, item: Check<T>): Check<readonly T[]> {
  return (given, name) => {
    if (!Array.isArray(given)) throw invalidOption(name, given, expected)
    return Array.from(given, (element: unknown, index) => item(element, `${name}[${index}]`))
  }
}

/** What may be left out, which an `undefined` does too. */
export function optional<T>(check: Check<T>): Check<T | undefined> {
  return (given, name) => (given === undefined ? undefined : check(given, name))
}

/** What may be left out; `fallback` is judged as if it had been given. */
export function withDefault<T>(check: Check<T>, fallback: unknown): Check<T> {
  return (given, name) => check(given === undefined ? fallback : given, name)
}

/**
 * An object with these properties and no others. Each is read once: a getter may give another value next time.
 * @param topLevel whether errors call a property by its own name alone, without `console.` before it
 */
export function object<S extends Readonly<Record<string, Check<unknown>>>>(
  shape: S,
  { topLevel = false } = {},
): Check<Checked<S>> {
  return (given, name) => {
    if (typeof given !== 'object' || given === null || Array.isArray(given)) {
      throw invalidOption(name, given, 'an object of options')
    }
    const source = given as Readonly<Record<string, unknown>>
    const nameOf = (key: string) => (topLevel ? key : `${name}.${key}`)
    const unknown = Object.keys(source).find((key) => !Object.hasOwn(shape, key))
    if (unknown !== undefined) {
      throw invalidOption(nameOf(unknown) || name, source[unknown], 'no such option')
    }
    return Object.fromEntries(
      Object.entries(shape).map(([key, check]) => [key, check(source[key], nameOf(key))]),
    ) as Checked<S>
  }
}
