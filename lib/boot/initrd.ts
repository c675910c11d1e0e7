import { PAGE_SIZE } from '../arch/x86-64/layout.js'
import type { GuestMemory } from '../memory/guest-memory.js'
import { alignDown } from '../util/bits.js'
import type { ImageFile } from './image-file.js'

/** A range of guest memory. */
export interface MemoryRange {
  readonly address: number
  readonly size: number
}

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
): MemoryRange {
  const { size } = initrd
  if (size === 0) throw initrd.error('is empty', 0, 'at least one byte')
  const region = memory.regions[0]!
  const top = Math.min(region.guestAddress + region.size, ceiling + 1)
  const address = alignDown(top - size, PAGE_SIZE)
  if (address < floor) {
    const room = Math.max(0, alignDown(top, PAGE_SIZE) - Math.ceil(floor / PAGE_SIZE) * PAGE_SIZE)
    throw initrd.error(
      `has ${size} bytes`,
      size,
      `at most ${room}, which is what this kernel leaves of ${memory.size} bytes of memory`,
    )
  }
  initrd.readInto(memory.view(address, size), 0)
  return { address, size }
}
