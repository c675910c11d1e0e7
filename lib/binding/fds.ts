import type { NativeMapping } from './memory.js'

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
