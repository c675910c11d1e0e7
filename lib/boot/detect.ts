import type { BootProtocol } from './boot-protocol.js'
import type { ImageFile } from './image-file.js'
import { linuxBzImage } from './linux-bzimage.js'

/** In the order they are tried. */
const PROTOCOLS: readonly BootProtocol[] = [linuxBzImage]

const HEAD = 1024

/**
 * The boot protocol of an image, by its magic numbers.
 * @throws VmmError `ERR_KERNEL_IMAGE` if it is none that is known
 */
export function detectBootProtocol(kernel: ImageFile): BootProtocol {
  if (kernel.size === 0) throw kernel.error('the image is empty', 0, expectedKinds())
  const head = kernel.read(0, HEAD)
  const protocol = PROTOCOLS.find((candidate) => candidate.recognizes(head))
  if (!protocol)
    throw kernel.error(
      `the image, which begins with ${hexBytes(head)}, is no kernel`,
      kernel.size,
      expectedKinds(),
    )
  return protocol
}

function expectedKinds(): string {
  return PROTOCOLS.map((protocol) => protocol.name).join(' or ')
}

function hexBytes(head: Uint8Array): string {
  return [...head.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, '0')).join(' ')
}
