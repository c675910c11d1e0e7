import type { GuestMemory } from '../../memory/guest-memory.js'
import { createGuestMemory } from '../../memory/mapping.js'

/** Memory that a backend takes for a guest's: pieces of one size, each lent to one request at a time. */
export class BounceMemory {
  readonly memory: GuestMemory
  readonly #size: number

  /** @param size bytes of a piece, a multiple of 4096 */
  constructor(count: number, size: number) {
    this.#size = size
    this.memory = createGuestMemory([{ guestAddress: 0, size: count * size }])
  }

  address(piece: number): number {
    return piece * this.#size
  }

  write(piece: number, bytes: Uint8Array, offset = 0): void {
    this.memory.write(this.address(piece) + offset, bytes)
  }

  read(piece: number, length: number, offset = 0): Uint8Array {
    return this.memory.read(this.address(piece) + offset, length)
  }

  close(): void {
    this.memory.close()
  }
}
