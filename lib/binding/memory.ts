/** What a mapping of guest memory is made of. */
export interface MappingOptions {
  /** `memfd` (shared) is the default; `anonymous` is private. */
  kind?: 'memfd' | 'anonymous'
  /** Bytes of a huge page: 0 for none, 2 MiB or 1 GiB. */
  hugePageSize?: number
  /** Of a memfd, as /proc shows it. */
  name?: string
  /** An open memfd that is sealed against shrinking and large enough, in place of a new one. It may be closed then. */
  fd?: number
  /** Writable pages of a known pattern on both sides instead of unreadable ones: see `canariesIntact`. For tests. */
  canaries?: boolean
}

export interface NativeMapping {
  /** Bytes, 0 once closed. */
  readonly size: number
  /** Names the memory to other threads of this process: see `Binding.findMapping`. */
  readonly id: number
  /** The memfd's descriptor, which stays the mapping's; -1 of anonymous memory, or once closed. */
  readonly fd: number
  /** An ArrayBuffer over `[offset, offset + length)`; detached by `close()`. The same range gives the same one. */
  buffer(offset: number, length: number): ArrayBuffer
  /** Gives the pages of a range (multiples of 4096) back to the host; they read as zeros afterwards. */
  discard(offset: number, length: number): void
  /** Lets KSM merge pages that are alike. */
  setMergeable(): void
  /** Keeps what is touched from being swapped out (mlock2 with MLOCK_ONFAULT). */
  lock(): void
  /** Takes the pages of a range from the host now; `offset` is a multiple of 4096. */
  populate(offset: number, length: number): void
  /** From which of the host's NUMA nodes the pages are to come that have not yet (mbind). */
  bind(
    policy: 'bind' | 'preferred' | 'interleave',
    nodes: Uint32Array,
    offset?: number,
    length?: number,
  ): void
  /** Whether nothing wrote just before or past the memory; always true without `canaries`. */
  canariesIntact(): boolean
  /** Gives up this object's hold. The memory stays while a slot, I/O in flight or another thread uses it. */
  close(): void
}

/** Guest-physical address space for native I/O: ranges of mappings, bounds-checked on every request. */
export interface NativeAddressSpace {
  add(guestAddress: number, size: number, mapping: NativeMapping, offset: number): void
  close(): void
}
