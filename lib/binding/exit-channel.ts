import type { NativeVcpu, NativeVm } from './fds.js'

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
  /**
   * Makes a thread for a vCPU, which runs from the next `run()` on. Returns its index: 0, 1, ...
   * @param nice how much the nice value of its thread is above this one's: 0, as it is unless told, to 19
   */
  addVcpu(vcpu: NativeVcpu, nice?: number): number
  /**
   * Starts or resumes all threads, or those in `only`. `onWork` is called from the event loop when there is something to
   * do: it is to call `next()` until that returns -1, and look at `parked`. It stays until all threads rest, and until
   * then keeps this object, and unless `unref()` was called the event loop, alive.
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
