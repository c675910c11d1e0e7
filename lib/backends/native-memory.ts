import { binding, type NativeAddressSpace, type NativeMapping } from '../binding.js'
import type { GuestMemory } from '../memory/guest-memory.js'
import type { GuestRegion } from '../memory/guest-region.js'

/** A region as `lib/memory/mapping.ts` makes them: over memory that the addon has mapped. */
interface MappedRegion extends GuestRegion {
  readonly mapping: NativeMapping
  /** Bytes into the mapping at which the region starts; 0 unless told. */
  readonly mappingOffset?: number
}

const addressSpaces = new WeakMap<GuestMemory, NativeAddressSpace>()

/** Guest memory as native I/O sees it; `undefined` if any of it is plain memory of this process. */
export function nativeAddressSpace(memory: GuestMemory): NativeAddressSpace | undefined {
  const known = addressSpaces.get(memory)
  if (known) return known
  if (!memory.regions.every(isMapped)) return undefined
  const space = new (binding().AddressSpace)()
  for (const region of memory.regions as readonly MappedRegion[]) {
    space.add(region.guestAddress, region.size, region.mapping, region.mappingOffset ?? 0)
  }
  addressSpaces.set(memory, space)
  return space
}

function isMapped(region: GuestRegion): region is MappedRegion {
  return 'mapping' in region && region.mapping !== undefined
}
