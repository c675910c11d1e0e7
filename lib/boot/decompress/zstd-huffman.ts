import { ensure } from './corrupt-data-error.js'
import { BackwardBits } from './zstd-bits.js'
import { nextState, readFseTable } from './zstd-fse.js'

/** Which symbol the next `log` bits begin with, and how many of them it takes (RFC 8878, section 4.2). */
export interface HuffmanTable {
  readonly log: number
  readonly symbols: Uint8Array
  readonly bits: Uint8Array
}

const MAX_LOG = 11
const MAX_WEIGHTS_LOG = 6
const MAX_SYMBOLS = 256

/**
 * Reads a tree's description (section 4.2.1).
 * @throws CorruptDataError
 */
export function readHuffmanTable(
  source: Uint8Array,
  start: number,
  end: number,
): { table: HuffmanTable; next: number } {
  ensure(start < end, 'a tree that is cut off')
  const header = source[start]!
  const first = start + 1
  if (header < 128) {
    const next = first + header
    ensure(next <= end, 'a tree that is cut off')
    return { table: buildTable(readWeights(source, first, next)), next }
  }
  const count = header - 127
  const next = first + Math.ceil(count / 2)
  ensure(next <= end, 'a tree that is cut off')
  const weights = Array.from({ length: count }, (_, i) => {
    const byte = source[first + (i >> 1)]!
    return i % 2 === 0 ? byte >> 4 : byte & 15
  })
  return { table: buildTable(weights), next }
}

/** Weights by finite state entropy, of two states that take turns. */
function readWeights(source: Uint8Array, start: number, end: number): number[] {
  const limits = { log: MAX_WEIGHTS_LOG, symbol: MAX_LOG }
  const { table, next } = readFseTable(source, start, end, limits)
  const stream = new BackwardBits(source, next, end)
  const weights: number[] = []
  let state = stream.read(table.log)
  let other = stream.read(table.log)
  ensure(stream.left >= 0, 'weights that are cut off')
  while (weights.length < MAX_SYMBOLS) {
    weights.push(table.symbols[state]!)
    const after = nextState(table, state, stream)
    if (stream.left < 0) {
      weights.push(table.symbols[other]!)
      return weights
    }
    state = other
    other = after
  }
  return weights
}

/** The last symbol's weight is what is missing to a power of two. */
function buildTable(given: readonly number[]): HuffmanTable {
  const sum = given.reduce((total, weight) => total + (weight > 0 ? 1 << (weight - 1) : 0), 0)
  ensure(sum > 0 && given.length < MAX_SYMBOLS, 'a tree without symbols, or with too many')
  const log = 32 - Math.clz32(sum)
  const rest = (1 << log) - sum
  ensure(log <= MAX_LOG && (rest & (rest - 1)) === 0, 'a tree whose weights do not add up')
  const weights = [...given, 32 - Math.clz32(rest)]
  const symbols = new Uint8Array(1 << log)
  const bits = new Uint8Array(1 << log)
  let at = 0
  for (let weight = 1; weight <= log; weight++) {
    for (const [symbol, own] of weights.entries()) {
      if (own !== weight) continue
      const end = at + (1 << (weight - 1))
      symbols.fill(symbol, at, end)
      bits.fill(log + 1 - weight, at, end)
      at = end
    }
  }
  return { log, symbols, bits }
}

/**
 * Decodes one stream of exactly `count` symbols.
 * @throws CorruptDataError
 */
export function decodeHuffman(
  table: HuffmanTable,
  source: Uint8Array,
  start: number,
  end: number,
  into: Uint8Array,
  at: number,
  count: number,
): void {
  const stream = new BackwardBits(source, start, end)
  const { log, symbols, bits } = table
  for (let i = at; i < at + count; i++) {
    const code = stream.peek(log)
    into[i] = symbols[code]!
    stream.left -= bits[code]!
  }
  ensure(stream.left === 0, 'literals that do not end where they should')
}
