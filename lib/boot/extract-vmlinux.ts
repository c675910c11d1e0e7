import { gunzipSync } from 'node:zlib'
import { CorruptDataError } from './decompress/corrupt-data-error.js'
import { decompressLz4, LZ4_LEGACY_MAGIC } from './decompress/lz4.js'
import { decompressZstd, ZSTD_MAGIC } from './decompress/zstd.js'
import { isElf } from './elf.js'
import type { ImageFile } from './image-file.js'
import { parseSetupHeader } from './setup-header.js'

/** Bytes of a kernel, more than which none is unpacked to; Debian's have 60 MB. */
const MAX_KERNEL = 2 ** 29
const GZIP_MAGIC = [0x1f, 0x8b] as const
/** The kernel's build appends the size of what it has compressed, as gzip does itself. */
const SIZE_BYTES = 4

/** @returns at most `size` bytes; throws if there would be more */
type Decompress = (payload: Uint8Array, size: number) => Uint8Array

const FORMATS: readonly (readonly [magic: readonly number[], decompress: Decompress])[] = [
  [GZIP_MAGIC, (payload, size) => gunzipSync(payload, { maxOutputLength: size })],
  [LZ4_LEGACY_MAGIC, (payload, size) => decompressLz4(payload.subarray(0, -SIZE_BYTES), size)],
  [ZSTD_MAGIC, (payload, size) => decompressZstd(payload.subarray(0, -SIZE_BYTES), size)],
]

/**
 * The ELF kernel inside a bzImage: booting that saves the guest unpacking it, which is most of what a small guest does until
 * init. The guest then does without address randomization of its kernel, which happens while unpacking.
 * @returns `undefined` if it is compressed in a way that is left to the guest: anything but gzip, LZ4 and Zstandard
 * @throws VmmError `ERR_KERNEL_IMAGE` for an image that is damaged, or unpacks to more than it says or than 512 MiB
 */
export function extractVmlinux(kernel: ImageFile): Uint8Array | undefined {
  const { kernelOffset, kernelSize, memoryNeeded, payloadOffset, payloadLength } =
    parseSetupHeader(kernel)
  if (payloadLength <= SIZE_BYTES || payloadOffset > kernelSize - payloadLength) {
    throw kernel.error(
      `has payload_length ${payloadLength} at payload_offset ${payloadOffset}`,
      payloadLength,
      `a payload within its ${kernelSize} bytes of kernel`,
    )
  }
  const payload = kernel.read(kernelOffset + payloadOffset, payloadLength)
  const format = FORMATS.find(([magic]) => magic.every((byte, i) => payload[i] === byte))
  if (!format) return undefined
  const view = new DataView(payload.buffer)
  const size = view.getUint32(payloadLength - SIZE_BYTES, true)
  const limit = Math.min(memoryNeeded, MAX_KERNEL)
  // init_size is what the kernel needs to unpack itself: it cannot be less than what comes out.
  if (size > limit) throw kernel.error(`unpacks to ${size} bytes`, size, `at most ${limit}`)
  const vmlinux = decompress(kernel, format[1], payload, size)
  if (vmlinux.length === size && isElf(vmlinux)) return vmlinux
  throw kernel.error(`holds ${vmlinux.length} bytes`, vmlinux.length, `an ELF of ${size} bytes`)
}

function decompress(
  kernel: ImageFile,
  method: Decompress,
  payload: Uint8Array,
  size: number,
): Uint8Array {
  try {
    return method(payload, size)
  } catch (cause) {
    const isOurs = cause instanceof CorruptDataError
    if (!isOurs && typeof (cause as NodeJS.ErrnoException).code !== 'string') throw cause
    const why = (cause as Error).message
    throw kernel.error(`cannot be unpacked (${why})`, payload.length, 'an undamaged kernel', cause)
  }
}
