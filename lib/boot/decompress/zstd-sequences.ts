import { copyMatch } from './copy-match.js'
import { ensure } from './corrupt-data-error.js'
import { BackwardBits } from './zstd-bits.js'
import { buildFseTable, type FseTable, nextState, readFseTable, rleTable } from './zstd-fse.js'

/** What a frame's blocks hand on to those after them. */
export interface SequenceState {
  literalLengths: FseTable | undefined
  offsets: FseTable | undefined
  matchLengths: FseTable | undefined
  /** The last three offsets, the newest first. */
  repeated: [number, number, number]
}

export function initialSequenceState(): SequenceState {
  return {
    literalLengths: undefined,
    offsets: undefined,
    matchLengths: undefined,
    repeated: [1, 4, 8],
  }
}

// RFC 8878, section 3.1.1.3.2.1.1: extra bits of each code; each code's base is where the one before it ends.
const LITERAL_LENGTH_BITS = [
  ...Array<number>(16).fill(0),
  ...[1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
]
const MATCH_LENGTH_BITS = [
  ...Array<number>(32).fill(0),
  ...[1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
]
const LITERAL_LENGTH_BASES = basesOf(LITERAL_LENGTH_BITS, 0)
const MATCH_LENGTH_BASES = basesOf(MATCH_LENGTH_BITS, 3)
const MAX_OFFSET_CODE = 31

// Section 3.1.1.3.2.2: the tables that blocks may use without bringing them.
const DEFAULT_LITERAL_LENGTHS = buildFseTable(
  [
    4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1,
    -1, -1, -1, -1,
  ],
  6,
)
const DEFAULT_MATCH_LENGTHS = buildFseTable(
  [
    1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
  ],
  6,
)
const DEFAULT_OFFSETS = buildFseTable(
  [1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1],
  5,
)

function basesOf(bits: readonly number[], first: number): number[] {
  let base = first
  return bits.map((extra) => {
    const own = base
    base += 2 ** extra
    return own
  })
}

/**
 * Decodes a block's sequences section from `start` to `end` of `source` and carries the sequences out.
 * @param frameStart where in `out` the frame begins: no match may lie before it
 * @returns where in `out` the block ends
 * @throws CorruptDataError
 */
export function decodeSequences(
  state: SequenceState,
  source: Uint8Array,
  start: number,
  end: number,
  literals: Uint8Array,
  out: Uint8Array,
  to: number,
  frameStart: number,
): number {
  const { count, next } = readCount(source, start, end)
  let used = 0
  let position = to
  if (count > 0) {
    const streamStart = readTables(state, source, next, end)
    const literalLengths = state.literalLengths!
    const offsets = state.offsets!
    const matchLengths = state.matchLengths!
    const stream = new BackwardBits(source, streamStart, end)
    let literalState = stream.read(literalLengths.log)
    let offsetState = stream.read(offsets.log)
    let matchState = stream.read(matchLengths.log)
    for (let i = 0; i < count; i++) {
      const offsetCode = offsets.symbols[offsetState]!
      const literalCode = literalLengths.symbols[literalState]!
      const matchCode = matchLengths.symbols[matchState]!
      const value = 2 ** offsetCode + stream.read(offsetCode)
      const matched = MATCH_LENGTH_BASES[matchCode]! + stream.read(MATCH_LENGTH_BITS[matchCode]!)
      const copied =
        LITERAL_LENGTH_BASES[literalCode]! + stream.read(LITERAL_LENGTH_BITS[literalCode]!)
      const offset = offsetOf(state.repeated, value, copied)
      if (i < count - 1) {
        literalState = nextState(literalLengths, literalState, stream)
        matchState = nextState(matchLengths, matchState, stream)
        offsetState = nextState(offsets, offsetState, stream)
      }
      ensure(copied <= literals.length - used, 'more literals than there are')
      ensure(copied + matched <= out.length - position, 'more than it may give')
      for (let k = 0; k < copied; k++) out[position + k] = literals[used + k]!
      used += copied
      position += copied
      ensure(offset > 0 && offset <= position - frameStart, 'a match before the start')
      copyMatch(out, position, offset, matched)
      position += matched
    }
    ensure(stream.left === 0, 'sequences that do not end where they should')
  } else {
    ensure(next === end, 'bytes after a block')
  }
  const rest = literals.length - used
  ensure(rest <= out.length - position, 'more than it may give')
  out.set(literals.subarray(used), position)
  return position + rest
}

function readCount(
  source: Uint8Array,
  start: number,
  end: number,
): { count: number; next: number } {
  ensure(start < end, 'sequences that are cut off')
  const first = source[start]!
  if (first < 128) return { count: first, next: start + 1 }
  const size = first < 255 ? 2 : 3
  ensure(start + size <= end, 'sequences that are cut off')
  const count =
    first < 255
      ? ((first - 128) << 8) + source[start + 1]!
      : source[start + 1]! + (source[start + 2]! << 8) + 0x7f00
  return { count, next: start + size }
}

/** Section 3.1.1.3.2.1: the three tables, each the default, of one symbol, described here, or the last one again. */
function readTables(state: SequenceState, source: Uint8Array, start: number, end: number): number {
  ensure(start < end, 'sequences that are cut off')
  const modes = source[start]!
  let next = start + 1
  const read = (
    mode: number,
    fallback: FseTable,
    last: FseTable | undefined,
    limits: { log: number; symbol: number },
  ): FseTable => {
    switch (mode & 3) {
      case 0:
        return fallback
      case 1: {
        ensure(next < end, 'a table that is cut off')
        const symbol = source[next++]!
        ensure(symbol <= limits.symbol, 'a code that there is not')
        return rleTable(symbol)
      }
      case 2: {
        const described = readFseTable(source, next, end, limits)
        next = described.next
        return described.table
      }
      default:
        ensure(last !== undefined, 'the last table again, where there was none')
        return last
    }
  }
  state.literalLengths = read(modes >> 6, DEFAULT_LITERAL_LENGTHS, state.literalLengths, {
    log: 9,
    symbol: LITERAL_LENGTH_BITS.length - 1,
  })
  state.offsets = read(modes >> 4, DEFAULT_OFFSETS, state.offsets, {
    log: 8,
    symbol: MAX_OFFSET_CODE,
  })
  state.matchLengths = read(modes >> 2, DEFAULT_MATCH_LENGTHS, state.matchLengths, {
    log: 9,
    symbol: MATCH_LENGTH_BITS.length - 1,
  })
  return next
}

/** Section 3.1.1.5: values to 3 stand for offsets used before, shifted by one where no literals come first. */
function offsetOf(repeated: [number, number, number], value: number, literals: number): number {
  if (value > 3) {
    repeated[2] = repeated[1]
    repeated[1] = repeated[0]
    repeated[0] = value - 3
    return value - 3
  }
  const index = literals === 0 ? value : value - 1
  if (index === 0) return repeated[0]
  const offset = index === 3 ? repeated[0] - 1 : repeated[index as 1 | 2]
  if (index > 1) repeated[2] = repeated[1]
  repeated[1] = repeated[0]
  repeated[0] = offset
  return offset
}
