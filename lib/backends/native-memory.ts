import type { NativeAddressSpace } from '../binding.js'
import type { GuestMemory } from '../memory/guest-memory.js'
import { MappedGuestMemory } from '../memory/mapping.js'

/** Guest memory as native I/O sees it; `undefined` if it is plain memory of this process. */
export function nativeAddressSpace(memory: GuestMemory): NativeAddressSpace | undefined {
  return memory instanceof MappedGuestMemory ? memory.addressSpace : undefined
}
