import { GuestMemory } from '../../lib/memory/guest-memory.js'
import { plainRegion } from '../../lib/memory/guest-region.js'
import { createGuestMemory, type MappedGuestMemory } from '../../lib/memory/mapping.js'

type Region = readonly [address: number, size: number]

/** Guest memory over plain ArrayBuffers. */
export function plainMemory(...regions: readonly Region[]): GuestMemory {
  return new GuestMemory(regions.map(([address, size]) => plainRegion(address, size)))
}

/** Guest memory over mappings, with pages on both sides that show whether anything wrote past the ends. */
export function nativeMemory(...regions: readonly Region[]): MappedGuestMemory {
  return createGuestMemory(
    regions.map(([guestAddress, size]) => ({ guestAddress, size })),
    { canaries: true },
  )
}
