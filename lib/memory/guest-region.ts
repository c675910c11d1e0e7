/**
 * One contiguous piece of guest-physical memory, as bytes of this process.
 * Regions over plain ArrayBuffers serve tests; `mapping.ts` makes the ones that a KVM slot maps.
 */
export interface GuestRegion {
  /** Guest-physical address of the first byte; a multiple of 4096. */
  readonly guestAddress: number
  /** Bytes; a multiple of 4096. */
  readonly size: number
  /** Its bytes. */
  readonly buffer: ArrayBuffer
  /** The guest has it only as far as it plugs it in (virtio-mem): what tells of RAM at the start leaves it out. */
  readonly hotPluggable?: boolean
  /** All of the region's bytes. */
  readonly bytes: Uint8Array
  /** Gives the pages of `[offset, offset + length)` back to the host, multiples of 4096; they read as zeroes then. */
  discard?(offset: number, length: number): void
  /** Gives the memory back. Views become empty or detached. */
  close(): void
}

/** A region over ordinary memory of this process: for tests and for programs that run no guest. */
export function plainRegion(guestAddress: number, size: number): GuestRegion {
  const buffer = new ArrayBuffer(size)
  return { guestAddress, size, buffer, bytes: new Uint8Array(buffer), close() {} }
}
