import type { NativeAddressSpace } from './memory.js'

/** One queue of a TAP interface and guest memory; `native/tap.h` defines batches and results. */
export interface NativeTap {
  readonly name: string
  /** The queue's descriptor, which stays this object's; -1 once closed. */
  readonly fd: number
  /** Frames too long for the buffers, receive errors, the last one's errno, frames filtered out, frames lost to the capture. */
  readonly counters: readonly [number, number, number, number, number]
  /** Looks whether the interface has been deleted, for whoever neither reads nor writes. */
  look(): void
  /** Drops the frame that waits. */
  giveUp(): void
  /** TUN_F_* bits; false if the kernel refuses them. */
  setOffload(bits: number): boolean
  /** @param results its last element: 1 if the interface has been deleted, 2 if a frame waits for more buffers */
  attach(
    memory: NativeAddressSpace,
    batch: Float64Array,
    results: Int32Array,
    onReadable: () => void,
  ): void
  detach(): void
  /** `mtu` 0: no limit. */
  features(
    txChecksum: boolean,
    txGsoTypes: number,
    rxChecksum: boolean,
    mergeable: boolean,
    mtu: number,
  ): void
  transmit(words: number): number
  post(words: number): number
  /** Up to `budget` frames, and no more once they have `bytes` bytes together. */
  receive(budget: number, bytes: number): number
  /** Forgets all posted buffers. */
  reset(): void
  watch(on: boolean): void
  /** Goes on with another interface of that name, once the one that was open is gone. */
  reopen(): void
  /** TUNSETQUEUE, for one of several queues. */
  enable(on: boolean): void
  /** false if the kernel cannot. */
  setCarrier(on: boolean): boolean
  /** Makes the interface outlive us, for that user. */
  setOwner(uid: number): void
  /** `flags`: 1 filter at all, 2 broadcast, 4 every unicast, 8 every multicast. `vlans` empty: all. */
  filter(flags: number, macs: Float64Array, vlans: Uint8Array): void
  /** Records as in a pcap file with nanoseconds, up to `capacity` bytes between two calls of `takeCaptured`; 0 ends it. */
  capture(capacity: number, snapLength: number): void
  takeCaptured(): Uint8Array | undefined
  /** Ends what was begun; the descriptor is closed by another thread when the promise settles. */
  close(): Promise<void>
}

/** 0: receive, 1: transmit. */
export type VhostRing = 0 | 1

export interface NativeVhostNet {
  /** The virtio features that it knows of. */
  readonly features: bigint
  setFeatures(features: bigint): void
  /** Guest memory as it is now, which stays mapped until another is set, or `close`. */
  setMemory(memory: NativeAddressSpace): void
  /** `next`: the position in the available ring of the first chain to be taken. */
  setRing(
    ring: VhostRing,
    size: number,
    next: number,
    descriptors: number,
    available: number,
    used: number,
  ): void
  /** Eventfds by number, -1 for none; what is absent stays. */
  setEvents(ring: VhostRing, kick?: number, call?: number, error?: number): void
  /** Serves the ring, or no more: then nothing of it is being worked on when this returns. */
  setBackend(ring: VhostRing, tap: NativeTap | undefined): void
  /** Of the next chain to be taken; exact while the ring is not served. */
  position(ring: VhostRing): number
  close(): void
}
