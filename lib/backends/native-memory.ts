import { binding, type NativeAddressSpace } from '../binding.js'
import type { GuestMemory } from '../memory/guest-memory.js'
import { MappedGuestMemory } from '../memory/mapping.js'

/** Guest memory as native I/O sees it; `undefined` if it is plain memory of this process. */
export function nativeAddressSpace(memory: GuestMemory): NativeAddressSpace | undefined {
  return memory instanceof MappedGuestMemory ? memory.addressSpace : undefined
}

/**
 * Keeps guest memory mapped after the machine has let go of it, until the returned function is called. Plain memory
 * stays as long as somebody has a view of it.
 */
export function holdMemory(memory: GuestMemory): () => void {
  if (!(memory instanceof MappedGuestMemory)) return () => {}
  const held = new (binding().AddressSpace)()
  for (const { guestAddress, size, mapping } of memory.regions) {
    held.add(guestAddress, size, mapping, 0)
  }
  return () => held.close()
}
