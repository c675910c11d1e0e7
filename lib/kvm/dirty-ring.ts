import { KVM_DIRTY_GFN_F_DIRTY, KVM_DIRTY_GFN_F_RESET, KvmDirtyGfn } from './abi/memory.js'

/** A page that the guest wrote. */
export interface DirtyPage {
  /** The memory slot, with its address space in the upper 16 bits. */
  slot: number
  /** The page's number within the slot. */
  page: number
}

/**
 * One vCPU's ring of dirty pages. Pages that were taken are tracked again after `vm.resetDirtyRings()`; a full ring
 * exits with KVM_EXIT_DIRTY_RING_FULL. If there is nothing to take after such an exit, KVM has overrun the ring, as one
 * in software may: it will count as full for ever.
 */
export class DirtyRing {
  /** How many pages the ring holds. */
  readonly capacity: number
  readonly #words: Uint32Array
  #next = 0

  constructor(buffer: ArrayBuffer) {
    this.#words = new Uint32Array(buffer)
    this.capacity = buffer.byteLength / KvmDirtyGfn.size
  }

  /** Takes the oldest page; undefined when there is none. */
  take(): DirtyPage | undefined {
    const at = (this.#next % this.capacity) * (KvmDirtyGfn.size / 4)
    // The flags are the other side's word: seen set, the fields behind them are there.
    if (Atomics.load(this.#words, at) !== KVM_DIRTY_GFN_F_DIRTY) return undefined
    const slot = this.#words[at + 1]!
    const page = this.#words[at + 3]! * 0x1_0000_0000 + this.#words[at + 2]!
    Atomics.store(this.#words, at, KVM_DIRTY_GFN_F_RESET)
    this.#next++
    return { slot, page }
  }
}
