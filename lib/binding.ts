import { createRequire } from 'node:module'
import { KvmError, VmmError } from './errors.js'
import { packageRoot } from './util/package-root.js'

/** What one native fd object has in common with the others. `close()` may be called again. */
export interface NativeFd {
  /** The descriptor, or -1 once closed. */
  readonly fd: number
  /**
   * Checked ioctl: `request` must be listed for this kind of fd in `native/ioctl_table.h`; `argument` is a number for
   * requests that take a value, bytes (at least `_IOC_SIZE`) for those that take a struct, absent for those that take 0.
   * Returns what the kernel returned. Throws KvmError, or VmmError for what the table refuses.
   */
  ioctl(request: number, argument?: number | Uint8Array): number
  /**
   * One of the `KVM_*_DEVICE_ATTR` ioctls. `bytes` is what the attribute reads or receives. True, except that
   * `KVM_HAS_DEVICE_ATTR` may say no.
   */
  deviceAttr(
    operation: number,
    group: number,
    attribute: number,
    flags: number,
    bytes?: Uint8Array | null,
  ): boolean
  close(): void
}

export interface NativeKvm extends NativeFd {
  createVm(type: number): NativeVm
}

export interface NativeVm extends NativeFd {
  createVcpu(id: number): NativeVcpu
  /** Nothing is made, and undefined returned, when `flags` has `KVM_CREATE_DEVICE_TEST`. */
  createDevice(type: number, flags: number): NativeDevice | undefined
  /** `mapping` null deletes the slot. The VM keeps a reference to the mapping while the slot exists. */
  setUserMemoryRegion(
    slot: number,
    flags: number,
    guestAddress: number,
    size: number,
    mapping: NativeMapping | null,
    offset: number,
  ): void
  /** The same, with memory of a guest_memfd beside the mapping's (KVM_SET_USER_MEMORY_REGION2). */
  setUserMemoryRegion2(
    slot: number,
    flags: number,
    guestAddress: number,
    size: number,
    mapping: NativeMapping | null,
    offset: number,
    guestMemfd: NativeGuestMemfd | null,
    guestMemfdOffset: number,
  ): void
  createGuestMemfd(size: number, flags: number): NativeGuestMemfd
  /** Bytes of a slot, 0 for one that does not exist. */
  slotSize(slot: number): number
  getDirtyLog(slot: number, bitmap: Uint8Array): void
  clearDirtyLog(slot: number, firstPage: number, pages: number, bitmap: Uint8Array): void
  irqfd(event: NativeEventFd, gsi: number, flags: number, resample: NativeEventFd | null): void
  ioeventfd(
    event: NativeEventFd,
    address: number,
    length: number,
    datamatch: bigint,
    flags: number,
  ): void
  /** Ranges as `[flags, base, count, bitmap]`. */
  setMsrFilter(
    flags: number,
    ranges: readonly (readonly [number, number, number, Uint8Array])[],
  ): void
  hypervEventfd(event: NativeEventFd | null, connectionId: number, flags: number): void
  xenHvmConfig(
    flags: number,
    msr: number,
    blob32: Uint8Array | null,
    blob64: Uint8Array | null,
  ): void
  xenSharedInfoHva(mapping: NativeMapping, offset: number): void
  memoryEncryptOp: MemoryEncryptOp
  memoryEncryptRegion(register: boolean, mapping: NativeMapping, offset: number, size: number): void
  stats(): NativeStats
}

export interface NativeVcpu extends NativeFd {
  /** The shared run page (`struct kvm_run` and what follows it), detached by `close()`. */
  readonly runPage: ArrayBuffer
  /** One synchronous KVM_RUN on the calling thread. 0, or the negative errno (`-EINTR`, `-EAGAIN` are no errors). */
  run(): number
  /** The vCPU's dirty ring, detached by `close()`. Throws KvmError ENXIO without one. */
  dirtyRing(): ArrayBuffer
  setSignalMask(mask: bigint | null): void
  getOneReg(id: bigint, bytes: Uint8Array): void
  setOneReg(id: bigint, bytes: Uint8Array): void
  xenVcpuInfoHva(mapping: NativeMapping, offset: number): void
  memoryEncryptOp: MemoryEncryptOp
  stats(): NativeStats
}

/**
 * `command` is `struct kvm_sev_cmd` or `struct kvm_tdx_cmd` (24 bytes each); its `data` field is set to the address of
 * `data`. Each `[offset, bytes]` of `pointers` puts the address of those bytes into `data`. All are written back.
 */
export type MemoryEncryptOp = (
  command: Uint8Array,
  data?: Uint8Array | null,
  pointers?: readonly (readonly [number, Uint8Array])[] | null,
) => number

/** A VM's or vCPU's statistics, as the kernel lays them out. */
export interface NativeStats {
  readonly fd: number
  /** How many bytes were read, fewer than asked for at the end. */
  read(offset: number, bytes: Uint8Array): number
  close(): void
}

export interface NativeGuestMemfd {
  readonly fd: number
  close(): void
}

export interface NativeDevice extends NativeFd {}

export interface NativeEventFd {
  readonly fd: number
  /** Adds `value` (1 unless told) to the counter. */
  signal(value?: number): void
  /** Takes the counter, 0 when it is not raised. */
  take(): number
  /** Calls back on the JS thread each time the eventfd becomes readable, after taking the counter. One watcher at a time. */
  watch(callback: (count: number) => void): void
  unwatch(): void
  /** Whether a watch keeps the event loop alive (it does not unless `ref()` was called). */
  ref(): void
  unref(): void
  close(): void
}

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

/**
 * A range, and which accesses to it the vCPUs' threads serve alone. What it does not name, and what has no route, is a
 * synchronous exit. Offsets are relative to `base`.
 */
export interface NativeRoute {
  space: 'pio' | 'mmio'
  base: number
  size: number
  /** Offsets at which writes begin that the guest does not wait for. */
  posted: Uint32Array
  /** Pairs of an offset and a width of 1, 2 or 4: registers whose reads are answered while their latch holds a value. */
  latched: Uint32Array
  /** Among `posted`: from such a write until `settle()` no latch of the route answers. */
  settling?: Uint32Array
  /** For MMIO: reads of 4 bytes at `read` get the one element of `bits`, writes of 4 bytes at `clear` clear bits in it. */
  status?: {
    read: number
    clear: number
    /** Over a SharedArrayBuffer. */
    bits: Uint32Array
  }
  /** `written` is among `posted`; a register at `told`, which is not latched, tells of the cause; the line is `gsi` of `vm`. */
  cause?: {
    written: number
    told: number
    gsi: number
    vm: NativeVm
  }
  /** CONFIG_ADDRESS, which is among `posted`, and CONFIG_DATA: see `native/selected_registers.h`. */
  selected?: {
    address: number
    data: number
    /** 2113 elements over a SharedArrayBuffer. */
    memory: Uint32Array
  }
}

/** The threads of one VM's vCPUs and the way of their exits to this JavaScript thread: see `native/exit_channel.h`. */
export interface NativeExitChannel {
  /**
   * May be called while the guest runs.
   * @returns the route's id, never 0 and never used twice; posted writes carry it.
   * @throws VmmError `ERR_BUS_CONFLICT` if the range overlaps another route's
   */
  addRoute(route: NativeRoute): number
  /** One write at an offset in `settling` has been handled, and the latches are up to date. */
  settle(id: number): void
  /** Writes that were posted before still come. */
  removeRoute(id: number): void
  /** What reads of a latched register get from now on; -1 makes them synchronous, which they are at first. */
  setLatch(id: number, offset: number, value: number): void
  /**
   * What reads of the register get, and where the line is, while the cause is not pending and while it is. `flags`: the
   * line's level while not (1) and while pending (2); a read while pending ends it (4); the threads may serve reads (8);
   * the write makes it pending (16). All 0 at first.
   */
  setCause(id: number, idle: number, pending: number, flags: number): void
  /** Whether it was pending; makes it so, or not. */
  causePending(id: number, pending?: 0 | 1): boolean
  /** What a read of the register gives, with what that does to the cause. */
  readCause(id: number): number
  /** Makes a thread for a vCPU, which runs from the next `run()` on. Returns its index: 0, 1, ... */
  /** @param nice how much the nice value of its thread is above this one's: 0, as it is unless told, to 19 */
  addVcpu(vcpu: NativeVcpu, nice?: number): number
  /**
   * Starts or resumes all threads, or those in `only`. `onWork` is called from the event loop when there is something to do: it is to call
   * `next()` until that returns -1, and look at `parked`. It stays until all threads rest, and until then keeps this
   * object, and unless `unref()` was called the event loop, alive.
   * @throws VmmError `ERR_VCPU_RUNNING` if another channel, or `vcpu.run()`, has one of the vCPUs; `ERR_STATE` once stopped
   */
  run(onWork: () => void, only?: Uint32Array): void
  /** Asks every thread to complete what it is at and to leave KVM_RUN; `onWork` is called when all have. */
  pause(): void
  /** True if no thread is in KVM_RUN nor will enter it before `run()`; those that are held count as parked. */
  readonly parked: boolean
  /** Takes every thread out of KVM_RUN, ends and joins it, for good. Bounded by the kick latency. */
  stop(): void
  /**
   * An own function of the object, that needs no `this`. Lets the vCPU `answered` go on (-1: none), and returns the
   * index of one whose synchronous exit waits for an answer: its run page may be used, and ioctls on it, until it is
   * answered. Or -1: there is none, `onWork` will be called again. Or -2: there may be more, but the event loop should
   * have a turn; call again after that, without waiting to be woken.
   *
   * In each case {@link mailbox} holds all writes that were posted before, which come before that exit.
   */
  readonly next: (answered: number) => number
  /** The vCPU's exit, which `next()` returned, is not to be answered: a halted vCPU that nothing can wake. */
  hold(index: number): void
  /**
   * As Uint32Array: the number of posted writes; the errno of KVM_RUN for the vCPU that `next()` returned, 0 if it is an
   * exit; two words of 0; then for each posted write the route's id, offset, width and value.
   */
  readonly mailbox: ArrayBuffer
  /** Moves the posted writes to the mailbox; returns how many. */
  takePosted(): number
  /** Of one vCPU: exits in all, reads latched, exits posted, exits to JavaScript, kicks, waits for room to post. */
  counters(index: number): Float64Array
  /**
   * What one vCPU exited for: how often, how many of these JavaScript answered, and nanoseconds out of the guest, for each
   * of the 64 exit reasons, then for the accesses that had no place of their own; then for each place: 1 for MMIO, 1 for
   * writes, the port or address, and the same three.
   */
  exitCounts(index: number): Float64Array
  /** How long either side waits for the other before it sleeps, at most: 0 to 1000, 50 unless told. */
  setSpin(microseconds: number): void
  /** Pins one vCPU's thread to host CPUs. */
  setAffinity(index: number, cpus: Uint32Array): void
  /** Writes may come by KVM's coalesced ring from now on: looks into it now and then though no vCPU exits. */
  coalesce(): void
  /** How many came that way. */
  readonly coalesced: number
  ref(): void
  unref(): void
  /** Stops if need be, and gives everything back. The mailbox is detached. */
  close(): void
}

/** One line of `native/ioctl_table.h`. */
export interface IoctlEntry {
  name: string
  request: number
  /** 1 system, 2 VM, 4 vCPU, 8 device, added up. */
  fds: number
  kind: 'none' | 'value' | 'struct' | 'list' | 'sized' | 'xsave' | 'named'
  /** Bytes of the struct, or of a list's header. */
  size: number
  /** Bytes of one entry of a list. */
  entrySize: number
}

/** Asynchronous I/O between one file and guest memory; `native/block_engine.h` defines requests and completions. */
export interface NativeBlockEngine {
  readonly kind: 'io_uring' | 'threads'
  readonly inFlight: number
  /** Starts the requests in the first `words` elements of the shared array; returns how many completions now lie in the other. */
  submit(words: number): number
  /** Looks for completions without waiting. */
  reap(): number
  /** Waits up to `milliseconds` for a completion, then as `reap`. */
  wait(milliseconds: number): number
  /** Whether completions to come keep the event loop alive: not unless told. */
  ref(): void
  unref(): void
  /** Throws ERR_STATE while requests are in flight. */
  close(): void
}

/** One queue of a TAP interface and guest memory; `native/tap.h` defines batches and results. */
export interface NativeTap {
  readonly name: string
  /** The queue's descriptor, which stays this object's; -1 once closed. */
  readonly fd: number
  /** Frames too long for the buffers, receive errors, the last one's errno, frames filtered out, frames lost to the capture. */
  readonly counters: readonly [number, number, number, number, number]
  /** The interface has been deleted. */
  readonly gone: boolean
  /** Looks whether it has, for whoever neither reads nor writes. */
  look(): boolean
  /** A frame waits for more buffers to be posted. */
  readonly starved: boolean
  /** Drops the frame that waits. */
  giveUp(): void
  /** TUN_F_* bits; false if the kernel refuses them. */
  setOffload(bits: number): boolean
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

/** The type of the addon. Each class is documented where TypeScript wraps it. */
export interface Binding {
  /** Tells the addon how to build the errors it throws. */
  setErrorClasses(kvmError: typeof KvmError, vmmError: typeof VmmError): void
  Kvm: new (path: string) => NativeKvm
  EventFd: new () => NativeEventFd
  Mapping: new (size: number, options?: MappingOptions) => NativeMapping
  /** Another hold on a mapping that some thread of this process made, undefined if it is gone. */
  findMapping(id: number): NativeMapping | undefined
  /** `native/ioctl_table.h`: every ioctl the addon knows. */
  ioctls(): IoctlEntry[]
  AddressSpace: new () => NativeAddressSpace
  ExitChannel: new () => NativeExitChannel
  BlockEngine: new (
    kind: 'io_uring' | 'threads',
    fd: number,
    memory: NativeAddressSpace,
    tags: number,
    requests: Float64Array,
    completions: Int32Array,
    onCompletions: (count: number) => void,
  ) => NativeBlockEngine
  /** Unless `create`, an interface of that name must exist. */
  VhostNet: new () => NativeVhostNet
  Tap: new (name: string, create: boolean, multiQueue: boolean, fd?: number) => NativeTap
  /** SIOCSIF* on a network interface. */
  configureInterface(name: string, what: 'up', on: boolean): void
  configureInterface(name: string, what: 'mtu', bytes: number): void
  configureInterface(name: string, what: 'address', address: string, prefixLength: number): void
  configureInterface(name: string, what: 'bridge', bridge: string): void
  /** 0, or the errno: EAGAIN if another open file description holds a lock that excludes this one. */
  lockFile(fd: number, exclusive: boolean): number
  /** A descriptor of new, empty memory of that many bytes as a file (memfd). The caller closes it. */
  memoryFile(size: number): number
  /** Bytes, of a block device too. */
  fileSize(fd: number): number
  /** Whether fallocate can punch holes in the file; `end` is its size. */
  fallocateWorks(fd: number, end: number): boolean
}

let loaded: Binding | undefined

/**
 * The addon, loaded on first use, so that importing node-kvm never fails.
 * @throws VmmError `ERR_PLATFORM` on another OS or CPU, `ERR_ADDON` if the addon is neither prebuilt nor built.
 */
export function binding(): Binding {
  if (loaded) return loaded
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new VmmError(
      'ERR_PLATFORM',
      `node-kvm needs Linux on x86-64, this is ${process.platform} on ${process.arch}`,
    )
  }
  const require = createRequire(import.meta.url)
  try {
    const load = require('node-gyp-build') as (directory: string) => Binding
    loaded = load(packageRoot())
  } catch (cause) {
    throw new VmmError(
      'ERR_ADDON',
      'the native addon is not there: run `npm rebuild node-kvm` (needs python3, make and g++)',
      { cause },
    )
  }
  loaded.setErrorClasses(KvmError, VmmError)
  return loaded
}
