import { type BootProtocol, HEAD_SIZE } from './boot-protocol.js'
import { elfKernel } from './elf-kernel.js'
import type { ImageFile } from './image-file.js'
import { linuxBzImage } from './linux-bzimage.js'
import { multiboot } from './multiboot.js'

/** In the order they are tried. */
const PROTOCOLS: readonly BootProtocol[] = [linuxBzImage, multiboot, elfKernel]

/**
 * The boot protocol of an image, by its magic numbers.
 * @throws VmmError `ERR_KERNEL_IMAGE` if it is none that is known
 */
export function detectBootProtocol(kernel: ImageFile): BootProtocol {
  const head = kernel.read(0, HEAD_SIZE)
  const protocol = PROTOCOLS.find((candidate) => candidate.recognizes(head, kernel))
  if (protocol) return protocol
  const names = PROTOCOLS.map(({ name }) => name)
  const expected = `${names.slice(0, -1).join(', ')} or ${names.at(-1)}`
  throw kernel.error(`is ${whatElse(head)}`, kernel.size, expected)
}

/** Files that are taken for kernels, by how they begin. */
const OTHERS: readonly (readonly [magic: readonly number[], what: string, at?: number])[] = [
  [[0x41, 0x52, 0x4d, 0x64], 'a kernel for ARM64', 0x38],
  [[0x1f, 0x8b], 'gzip-compressed'],
  [[0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00], 'xz-compressed'],
  [[0x28, 0xb5, 0x2f, 0xfd], 'zstd-compressed'],
  [[0x02, 0x21, 0x4c, 0x18], 'lz4-compressed'],
  [[0x04, 0x22, 0x4d, 0x18], 'lz4-compressed'],
  [[0x42, 0x5a, 0x68], 'bzip2-compressed'],
  [[0x4d, 0x5a], 'an EFI program without a Linux kernel header'],
  [[0x30, 0x37, 0x30, 0x37, 0x30], 'a cpio archive, such as an initrd'],
  [[0x51, 0x46, 0x49, 0xfb], 'a qcow2 disk image'],
  [[0x21, 0x3c, 0x61, 0x72, 0x63, 0x68, 0x3e], 'an archive, such as a Debian package'],
  [[0x23, 0x21], 'a script'],
  [[0x55, 0xaa], 'a disk with a boot sector', 510],
]

function whatElse(head: Uint8Array): string {
  if (head.length === 0) return 'empty'
  const other = OTHERS.find(([magic, , at = 0]) =>
    magic.every((byte, index) => head[at + index] === byte),
  )
  if (other) return other[1]
  const start = [...head.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, '0'))
  return `no kernel, beginning with ${start.join(' ')}`
}
