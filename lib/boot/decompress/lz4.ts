import { copyMatch } from './copy-match.js'
import { CorruptDataError, ensure } from './corrupt-data-error.js'

/** The magic number of LZ4's legacy frames, which Linux uses (lz4_Frame_format.md, "Legacy frame"). */
export const LZ4_LEGACY_MAGIC = [0x02, 0x21, 0x4c, 0x18] as const

/**
 * Decompresses a legacy LZ4 frame that gives at most `size` bytes.
 * @throws CorruptDataError
 */
export function decompressLz4(source: Uint8Array, size: number): Uint8Array {
  const out = new Uint8Array(size)
  const view = new DataView(source.buffer, source.byteOffset, source.byteLength)
  let at = LZ4_LEGACY_MAGIC.length
  let done = 0
  while (at <= source.length - 4) {
    const blockSize = view.getUint32(at, true)
    at += 4
    ensure(blockSize > 0 && blockSize <= source.length - at, 'a block that reaches beyond the end')
    done = decompressBlock(source.subarray(at, at + blockSize), out, done)
    at += blockSize
  }
  ensure(at === source.length, 'bytes after the last block')
  return out.subarray(0, done)
}

/** One block (lz4_Block_format.md), whose matches may lie in the block only. Returns where it ends in `out`. */
function decompressBlock(source: Uint8Array, out: Uint8Array, start: number): number {
  let from = 0
  let to = start
  const length = (base: number): number => {
    if (base < 15) return base
    let sum = base
    for (let byte = 255; byte === 255; sum += byte) {
      ensure(from < source.length, 'a length that is cut off')
      byte = source[from++]!
    }
    return sum
  }
  while (from < source.length) {
    const token = source[from++]!
    const literals = length(token >> 4)
    ensure(literals <= source.length - from && literals <= out.length - to, 'too many literals')
    out.set(source.subarray(from, from + literals), to)
    from += literals
    to += literals
    if (from === source.length) return to
    ensure(from <= source.length - 2, 'an offset that is cut off')
    const offset = source[from]! | (source[from + 1]! << 8)
    from += 2
    const matched = length(token & 15) + 4
    ensure(offset > 0 && offset <= to - start, 'a match before the start')
    ensure(matched <= out.length - to, 'more than it may give')
    copyMatch(out, to, offset, matched)
    to += matched
  }
  throw new CorruptDataError('a block that does not end with literals')
}
