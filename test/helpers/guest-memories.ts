import { binding } from '../../lib/binding.js'
import { GuestMemory } from '../../lib/memory/guest-memory.js'
import { plainRegion } from '../../lib/memory/guest-region.js'

/** Guest memory over plain ArrayBuffers. */
export function plainMemory(...regions: readonly [address: number, size: number][]): GuestMemory {
  return new GuestMemory(regions.map(([address, size]) => plainRegion(address, size)))
}

/** Guest memory over a mapping of the addon's: what native I/O can reach. */
export function nativeMemory(...regions: readonly [address: number, size: number][]): GuestMemory {
  return new GuestMemory(
    regions.map(([guestAddress, size]) => {
      const mapping = new (binding().Mapping)(size)
      const buffer = mapping.buffer(0, size)
      return {
        guestAddress,
        size,
        buffer,
        bytes: new Uint8Array(buffer),
        mapping,
        close: () => mapping.close(),
      }
    }),
  )
}
