import { ensure } from './corrupt-data-error.js'
import type { BackwardBits } from './zstd-bits.js'

/** A table of finite state entropy (RFC 8878, section 4.1): for each state its symbol and how the next state is read. */
export interface FseTable {
  readonly log: number
  readonly symbols: Uint8Array
  readonly bits: Uint8Array
  readonly base: Uint16Array
}

const highBit = (value: number) => 31 - Math.clz32(value)

/** The state after `state`. */
export function nextState(table: FseTable, state: number, stream: BackwardBits): number {
  return table.base[state]! + stream.read(table.bits[state]!)
}

/** A table of one state that always gives the same symbol. */
export function rleTable(symbol: number): FseTable {
  return {
    log: 0,
    symbols: Uint8Array.of(symbol),
    bits: new Uint8Array(1),
    base: new Uint16Array(1),
  }
}

/**
 * Reads a table's description (section 4.1.1).
 * @returns the table, and where what follows begins
 * @throws CorruptDataError
 */
export function readFseTable(
  source: Uint8Array,
  start: number,
  end: number,
  limits: { readonly log: number; readonly symbol: number },
): { table: FseTable; next: number } {
  const stream = new ForwardBits(source, start, end)
  const log = stream.take(4) + 5
  ensure(log <= limits.log, 'a table that is too large')
  const counts: number[] = []
  let remaining = 1 << log
  while (remaining > 0) {
    const count = readCount(stream, remaining)
    counts.push(count)
    remaining -= Math.abs(count)
    // Zeros are followed by how many more there are, three and go on at most.
    for (let repeat = count === 0 ? 3 : 0; repeat === 3; ) {
      repeat = stream.take(2)
      for (let i = 0; i < repeat; i++) counts.push(0)
      ensure(counts.length <= limits.symbol, 'a table of too many symbols')
    }
    ensure(counts.length <= limits.symbol + 1, 'a table of too many symbols')
  }
  ensure(remaining === 0, 'a table whose counts do not add up')
  return { table: buildFseTable(counts, log), next: stream.nextByte }
}

/** One count, -1 for "less than one"; small values take one bit fewer than large ones. */
function readCount(stream: ForwardBits, remaining: number): number {
  const bits = highBit(remaining + 1) + 1
  const value = stream.peek(bits)
  const lowMask = (1 << (bits - 1)) - 1
  const spare = (1 << bits) - 2 - remaining
  if ((value & lowMask) < spare) {
    stream.take(bits - 1)
    return (value & lowMask) - 1
  }
  stream.take(bits)
  return (value > lowMask ? value - spare : value) - 1
}

/** Reads bits from the lowest of the first byte on. */
class ForwardBits {
  readonly #bytes: Uint8Array
  readonly #end: number
  #position: number

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.#bytes = bytes
    this.#position = start * 8
    this.#end = end * 8
  }

  get nextByte(): number {
    return Math.ceil(this.#position / 8)
  }

  peek(count: number): number {
    const at = this.#position >>> 3
    const bytes = this.#bytes
    const word = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16)
    return (word >>> (this.#position & 7)) & ((1 << count) - 1)
  }

  take(count: number): number {
    ensure(this.#position + count <= this.#end, 'a table that is cut off')
    const value = this.peek(count)
    this.#position += count
    return value
  }
}

/** Spreads the symbols over the states (section 4.1.1). */
export function buildFseTable(counts: readonly number[], log: number): FseTable {
  const size = 1 << log
  const symbols = new Uint8Array(size)
  const next = new Uint16Array(counts.length)
  let high = size
  for (const [symbol, count] of counts.entries()) {
    next[symbol] = Math.abs(count)
    if (count === -1) symbols[--high] = symbol
  }
  const step = (size >> 1) + (size >> 3) + 3
  let position = 0
  for (const [symbol, count] of counts.entries()) {
    for (let i = 0; i < count; i++) {
      symbols[position] = symbol
      do position = (position + step) & (size - 1)
      while (position >= high)
    }
  }
  const bits = new Uint8Array(size)
  const base = new Uint16Array(size)
  for (let state = 0; state < size; state++) {
    const from = next[symbols[state]!]!++
    bits[state] = log - highBit(from)
    base[state] = (from << bits[state]!) - size
  }
  return { log, symbols, bits, base }
}
