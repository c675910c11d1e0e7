import { readLittleEndian } from '../../util/bits.js'
import { CorruptDataError, ensure } from './corrupt-data-error.js'
import { decodeHuffman, type HuffmanTable, readHuffmanTable } from './zstd-huffman.js'
import { decodeSequences, initialSequenceState, type SequenceState } from './zstd-sequences.js'

export const ZSTD_MAGIC = [0x28, 0xb5, 0x2f, 0xfd] as const

/** The most that a block gives (RFC 8878, section 3.1.1.2.4). */
const MAX_BLOCK = 128 * 1024

interface Frame {
  readonly sequences: SequenceState
  huffman: HuffmanTable | undefined
}

/**
 * Decompresses one Zstandard frame that gives at most `size` bytes (RFC 8878). Its checksum is not looked at; dictionaries
 * are not known.
 * @throws CorruptDataError
 */
export function decompressZstd(source: Uint8Array, size: number): Uint8Array {
  const out = new Uint8Array(size)
  const frame: Frame = { sequences: initialSequenceState(), huffman: undefined }
  let at = blocksStart(source)
  let done = 0
  for (let last = false; !last; ) {
    ensure(at <= source.length - 3, 'a block that is cut off')
    const header = source[at]! | (source[at + 1]! << 8) | (source[at + 2]! << 16)
    last = (header & 1) !== 0
    const type = (header >> 1) & 3
    const blockSize = header >>> 3
    at += 3
    const stored = type === 1 ? 1 : blockSize
    ensure(stored <= source.length - at, 'a block that is cut off')
    ensure(blockSize <= MAX_BLOCK, 'a block that is too large')
    done = decodeBlock(frame, type, source.subarray(at, at + stored), blockSize, out, done)
    at += stored
  }
  return out.subarray(0, done)
}

/** Reads past the frame header (section 3.1.1.1). */
function blocksStart(source: Uint8Array): number {
  const descriptor = source[ZSTD_MAGIC.length]
  ensure(descriptor !== undefined, 'a header that is cut off')
  ensure((descriptor & 0b1011) === 0, 'a dictionary, or a bit that is reserved')
  const isSingleSegment = (descriptor & 0x20) !== 0
  const contentSizeBytes = [isSingleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6]!
  return ZSTD_MAGIC.length + 1 + (isSingleSegment ? 0 : 1) + contentSizeBytes
}

function decodeBlock(
  frame: Frame,
  type: number,
  block: Uint8Array,
  size: number,
  out: Uint8Array,
  to: number,
): number {
  switch (type) {
    case 0:
      ensure(size <= out.length - to, 'more than it may give')
      out.set(block, to)
      return to + size
    case 1:
      ensure(size <= out.length - to, 'more than it may give')
      out.fill(block[0]!, to, to + size)
      return to + size
    case 2: {
      const { literals, next } = readLiterals(frame, block)
      // A view that ends where a block must, so that none gives more than the format allows.
      const room = out.subarray(0, Math.min(out.length, to + MAX_BLOCK))
      return decodeSequences(frame.sequences, block, next, block.length, literals, room, to, 0)
    }
    default:
      throw new CorruptDataError('a block of a kind that there is not')
  }
}

/** Literals section (section 3.1.1.3.1): as they are, one repeated, or by a Huffman tree, new or the last one again. */
function readLiterals(frame: Frame, block: Uint8Array): { literals: Uint8Array; next: number } {
  ensure(block.length >= 1, 'literals that are cut off')
  const type = block[0]! & 3
  const format = (block[0]! >> 2) & 3
  return type < 2
    ? readPlainLiterals(block, type, format)
    : readCompressedLiterals(frame, block, type, format)
}

function readPlainLiterals(
  block: Uint8Array,
  type: number,
  format: number,
): { literals: Uint8Array; next: number } {
  const headerSize = [1, 2, 1, 3][format]!
  ensure(headerSize <= block.length, 'literals that are cut off')
  const header = readLittleEndian(block, 0, headerSize)
  const size = header >>> (headerSize === 1 ? 3 : 4)
  ensure(size <= MAX_BLOCK, 'too many literals')
  if (type === 0) {
    const next = headerSize + size
    ensure(next <= block.length, 'literals that are cut off')
    return { literals: block.subarray(headerSize, next), next }
  }
  ensure(headerSize < block.length, 'literals that are cut off')
  return { literals: new Uint8Array(size).fill(block[headerSize]!), next: headerSize + 1 }
}

function readCompressedLiterals(
  frame: Frame,
  block: Uint8Array,
  type: number,
  format: number,
): { literals: Uint8Array; next: number } {
  const [headerSize, sizeBits] = (
    [
      [3, 10],
      [3, 10],
      [4, 14],
      [5, 18],
    ] as const
  )[format]!
  ensure(headerSize <= block.length, 'literals that are cut off')
  const header = readLittleEndian(block, 0, headerSize)
  const mask = 2 ** sizeBits
  const size = Math.floor(header / 16) % mask
  const compressedSize = Math.floor(header / (16 * mask)) % mask
  const end = headerSize + compressedSize
  ensure(end <= block.length && size <= MAX_BLOCK, 'literals that are cut off, or too many')
  let start: number = headerSize
  if (type === 2) {
    const described = readHuffmanTable(block, headerSize, end)
    frame.huffman = described.table
    start = described.next
  }
  const table = frame.huffman
  ensure(table !== undefined, 'the last tree again, where there was none')
  const literals = new Uint8Array(size)
  if (format === 0) decodeHuffman(table, block, start, end, literals, 0, size)
  else decodeFourStreams(table, block, start, end, literals)
  return { literals, next: end }
}

/** Section 3.1.1.3.1.6: three sizes, then four streams for a quarter each, the last for what is left. */
function decodeFourStreams(
  table: HuffmanTable,
  block: Uint8Array,
  start: number,
  end: number,
  literals: Uint8Array,
): void {
  ensure(start + 6 <= end, 'literals that are cut off')
  const quarter = (literals.length + 3) >> 2
  ensure(literals.length >= 3 * quarter, 'too few literals for four streams')
  let from = start + 6
  for (let i = 0; i < 4; i++) {
    const size = block[start + 2 * i]! | (block[start + 2 * i + 1]! << 8)
    const to = i < 3 ? from + size : end
    ensure(to <= end, 'literals that are cut off')
    const count = i < 3 ? quarter : literals.length - 3 * quarter
    decodeHuffman(table, block, from, to, literals, i * quarter, count)
    from = to
  }
}
