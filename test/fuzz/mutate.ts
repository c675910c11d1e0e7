import type { RandomNumbers } from '../helpers/random-numbers.js'
import type { Compared, Pair } from './probes.js'

/** What changes are made of. */
export interface Material {
  readonly random: RandomNumbers
  /** Another input that is worth something. */
  readonly other: Uint8Array
  /** What the input was compared with. */
  readonly pairs: readonly Pair[]
  /** Words that the target understands. */
  readonly words: readonly Uint8Array[]
}

type Mutation = (input: Uint8Array, material: Material) => Uint8Array

const LENGTH_MAX = 65_536
const WIDTHS = [1, 2, 4, 8] as const
const BOUNDARIES = [
  ...[0n, 1n, 2n, 0x10n, 0x20n, 0x40n, 0x7fn, 0x80n, 0xffn, 0x100n, 0x200n, 0xfffn, 0x1000n],
  ...[0x7fffn, 0x8000n, 0xffffn, 0x7fff_ffffn, 0x8000_0000n, 0xffff_ffffn, 2n ** 53n],
  ...[2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n],
]

/** The input with one to eight changes. */
export function mutate(input: Uint8Array, material: Material): Uint8Array {
  let output = input
  for (let left = 1 << material.random(4); left > 0; left--) {
    output = pick(MUTATIONS, material.random)(output, material).subarray(0, LENGTH_MAX)
  }
  return output
}

const flipBit: Mutation = (input, { random }) =>
  change(input, random(input.length || 1), (byte) => byte ^ (1 << random(8)))

const setByte: Mutation = (input, { random }) =>
  change(input, random(input.length || 1), () => random(256))

/** A field a little more or less than it was. */
const addToField: Mutation = (input, { random }) => {
  const [at, width] = field(input, random)
  const little = random(2) === 0
  const value = get(input, at, width, little) + BigInt(random(35)) - 17n
  return put(input, at, numberBytes(value, width, little))
}

const setField: Mutation = (input, { random }) => {
  const [at, width] = field(input, random)
  return put(input, at, numberBytes(pick(BOUNDARIES, random), width, random(4) > 0))
}

const remove: Mutation = (input, { random }) => {
  const [at, length] = range(input, random)
  return splice(input, at, length)
}

const insertRandom: Mutation = (input, { random }) => {
  const bytes = Uint8Array.from({ length: 1 + random(1 << random(7)) }, () => random(256))
  return splice(input, random(input.length + 1), 0, bytes)
}

const insertSame: Mutation = (input, { random }) => {
  const bytes = new Uint8Array(1 + random(1 << random(9))).fill(random(2) * random(256))
  return splice(input, random(input.length + 1), 0, bytes)
}

/** A part of it once more, elsewhere: in between or over what is there. */
const repeat: Mutation = (input, { random }) => {
  const [at, length] = range(input, random)
  const part = input.slice(at, at + length)
  return splice(input, random(input.length + 1), random(2) * part.length, part)
}

/** A part of another input, in between or over what is there. */
const borrow: Mutation = (input, { random, other }) => {
  const [at, length] = range(other, random)
  const part = other.subarray(at, at + length)
  return splice(input, random(input.length + 1), random(2) * part.length, part)
}

/** The beginning of one input and the end of another. */
const cross: Mutation = (input, { random, other }) => {
  const head = input.subarray(0, random(input.length + 1))
  return splice(head, head.length, 0, other.subarray(random(other.length + 1)))
}

const cut: Mutation = (input, { random }) => input.slice(0, random(input.length + 1))

/** A word that the target knows. */
const useWord: Mutation = (input, { random, words }) => {
  if (words.length === 0) return setByte(input, { random } as Material)
  const word = pick(words, random)
  return splice(input, random(input.length + 1), random(2) * word.length, word)
}

/** What it was compared with, in the place of what was compared. */
const satisfy: Mutation = (input, { random, pairs }) => {
  if (pairs.length === 0) return input
  const pair = pick(pairs, random)
  const [from, to] = random(2) ? pair : ([pair[1], pair[0]] as const)
  for (const encode of shuffled(ENCODINGS, random)) {
    const [was, wanted] = [encode(from), encode(nearby(to, random))]
    if (!was || !wanted || isTrivial(was)) continue
    const places = find(input, was)
    if (places.length > 0) return splice(input, pick(places, random), was.length, wanted)
  }
  const wanted = encodeAny(to, random)
  return splice(input, random(input.length + 1), random(2) * wanted.length, wanted)
}

const MUTATIONS = [
  ...[flipBit, setByte, addToField, setField, setField, remove, insertRandom, insertSame],
  ...[repeat, borrow, cross, cut, useWord, satisfy, satisfy, satisfy],
]

/** Of numbers also what is next to them: bounds are tested by one more and one less. */
function nearby(value: Compared, random: RandomNumbers): Compared {
  if (typeof value === 'string' || random(4) > 0) return value
  return BigInt(value) + BigInt(random(3) - 1)
}

const numberAs = (width: number, little: boolean) => (value: Compared) =>
  typeof value === 'string' ? undefined : fitting(BigInt(value), width, little)
const ENCODINGS: readonly ((value: Compared) => Uint8Array | undefined)[] = [
  (value) => Buffer.from(String(value), 'latin1'),
  ...WIDTHS.flatMap((width) => [numberAs(width, true), numberAs(width, false)]),
]

function encodeAny(value: Compared, random: RandomNumbers): Uint8Array {
  if (typeof value === 'string') return Buffer.from(value)
  return numberBytes(BigInt(value), pick(WIDTHS, random), random(2) === 0)
}

function fitting(value: bigint, width: number, little: boolean): Uint8Array | undefined {
  const fits = value < 1n << BigInt(8 * width) && value >= -(1n << BigInt(8 * width - 1))
  return fits ? numberBytes(value, width, little) : undefined
}

/** Zeros and single bytes stand for too much. */
function isTrivial(bytes: Uint8Array): boolean {
  return bytes.length === 0 || (bytes.length < 2 && bytes[0]! < 2) || bytes.every((byte) => !byte)
}

function find(input: Uint8Array, bytes: Uint8Array): number[] {
  const buffer = Buffer.from(input.buffer, input.byteOffset, input.length)
  const places: number[] = []
  for (let at = buffer.indexOf(bytes); at >= 0 && places.length < 16; )
    at = buffer.indexOf(bytes, places[places.push(at) - 1]! + 1)
  return places
}

function numberBytes(value: bigint, width: number, little: boolean): Uint8Array {
  const bytes = new Uint8Array(width)
  for (let i = 0; i < width; i++)
    bytes[little ? i : width - 1 - i] = Number((value >> BigInt(8 * i)) & 0xffn)
  return bytes
}

function get(input: Uint8Array, at: number, width: number, little: boolean): bigint {
  let value = 0n
  for (let i = 0; i < width; i++)
    value = (value << 8n) | BigInt(input[at + (little ? width - 1 - i : i)] ?? 0)
  return value
}

function put(input: Uint8Array, at: number, bytes: Uint8Array): Uint8Array {
  return splice(input, at, bytes.length, bytes)
}

function change(input: Uint8Array, at: number, how: (byte: number) => number): Uint8Array {
  const copy = input.slice()
  if (at < copy.length) copy[at] = how(copy[at]!)
  return copy
}

/** Where, and how many bytes. */
function field(input: Uint8Array, random: RandomNumbers): [number, number] {
  const width = pick(WIDTHS, random)
  return [random(Math.max(input.length - width, 0) + 1), width]
}

/** Where, and how many bytes, of which a few are likelier than many. */
function range(input: Uint8Array, random: RandomNumbers): [number, number] {
  const at = random(input.length + 1)
  return [at, Math.min(input.length - at, 1 + random(1 << random(10)))]
}

function splice(
  input: Uint8Array,
  at: number,
  removed: number,
  inserted: Uint8Array = new Uint8Array(0),
): Uint8Array {
  const rest = input.subarray(Math.min(at + removed, input.length))
  const output = new Uint8Array(at + inserted.length + rest.length)
  output.set(input.subarray(0, at))
  output.set(inserted, at)
  output.set(rest, at + inserted.length)
  return output
}

function pick<T>(from: readonly T[], random: RandomNumbers): T {
  return from[random(from.length)]!
}

function shuffled<T>(from: readonly T[], random: RandomNumbers): T[] {
  const start = random(from.length)
  return [...from.slice(start), ...from.slice(0, start)]
}
