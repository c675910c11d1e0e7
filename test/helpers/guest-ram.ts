import { ramRanges } from '../../lib/arch/x86-64/layout.js'
import { GuestMemory } from '../../lib/memory/guest-memory.js'
import { plainRegion } from '../../lib/memory/guest-region.js'

/** `size` bytes of RAM where a machine would have it, in ordinary memory. */
export function guestRam(size: number): GuestMemory {
  return new GuestMemory(
    ramRanges(size).map((range) => plainRegion(range.guestAddress, range.size)),
  )
}
