import type { GuestMemory } from '../memory/guest-memory.js'

interface Patch {
  original: number
  readonly patched: number
}

/**
 * Guest-physical memory with breakpoint instructions in it, which readers do not see. Only RAM: nothing here reaches a
 * device.
 */
export class PatchedMemory {
  readonly #memory: GuestMemory
  readonly #patches = new Map<number, Patch>()

  constructor(memory: GuestMemory) {
    this.#memory = memory
  }

  /** A copy of what the guest has there, or undefined where not all of it is RAM. */
  read(address: number, length: number): Uint8Array | undefined {
    if (this.#memory.findRegion(address, length) === undefined) return undefined
    const bytes = this.#memory.read(address, length)
    this.#eachPatch(address, length, (patch, at) => {
      // What the guest wrote over the instruction since is the guest's.
      if (bytes[at] === patch.patched) bytes[at] = patch.original
    })
    return bytes
  }

  /** Leaves the breakpoint instructions in place. @returns false where not all of it is RAM: nothing is written then */
  write(address: number, given: Uint8Array): boolean {
    if (this.#memory.findRegion(address, given.length) === undefined) return false
    const bytes = Uint8Array.from(given)
    this.#eachPatch(address, bytes.length, (patch, at) => {
      patch.original = bytes[at]!
      bytes[at] = patch.patched
    })
    this.#memory.write(address, bytes)
    return true
  }

  /** Whether a breakpoint's instruction has a byte at `address`. */
  isPatched(address: number): boolean {
    return this.#patches.has(address)
  }

  /** Puts an instruction's byte in place of what is there. @returns false where no RAM is, or a patch already */
  patch(address: number, byte: number): boolean {
    if (this.#memory.findRegion(address, 1) === undefined || this.#patches.has(address))
      return false
    const [original] = this.#memory.read(address, 1)
    this.#patches.set(address, { original: original!, patched: byte })
    this.#memory.write(address, Uint8Array.of(byte))
    return true
  }

  /** Puts back what was there, unless the guest has written since. */
  restore(address: number): void {
    const patch = this.#patches.get(address)
    if (patch === undefined) return
    this.#patches.delete(address)
    const [present] = this.#memory.read(address, 1)
    if (present === patch.patched) this.#memory.write(address, Uint8Array.of(patch.original))
  }

  #eachPatch(address: number, length: number, use: (patch: Patch, at: number) => void): void {
    for (const [patched, patch] of this.#patches) {
      const at = patched - address
      if (at >= 0 && at < length) use(patch, at)
    }
  }
}
