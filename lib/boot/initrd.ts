import { PAGE_SIZE } from '../arch/x86-64/layout.js'
import type { GuestMemory } from '../memory/guest-memory.js'
import type { ImageFile } from './image-file.js'

/**
 * Puts an initrd as high as it may lie, as loaders do, out of the way of a kernel that unpacks itself upwards.
 * @param floor first address after all that the kernel needs
 * @param ceiling last address that the initrd may have
 * @throws VmmError `ERR_INITRD` if it is empty or does not fit
 */
export function placeInitrd(
  memory: GuestMemory,
  initrd: ImageFile,
  floor: number,
  ceiling: number,
): { address: number; size: number } {
  const region = memory.regions[0]!
  const top = Math.min(region.guestAddress + region.size, ceiling + 1)
  const address = Math.floor((top - initrd.size) / PAGE_SIZE) * PAGE_SIZE
  if (initrd.size === 0) throw initrd.error('the image is empty', 0, 'at least one byte')
  if (address < floor) {
    throw initrd.error(
      `${initrd.size} bytes do not fit beside the kernel`,
      initrd.size,
      `at most ${Math.max(0, top - floor)} bytes with this kernel and this much memory`,
    )
  }
  initrd.readInto(memory.view(address, initrd.size), 0)
  return { address, size: initrd.size }
}
