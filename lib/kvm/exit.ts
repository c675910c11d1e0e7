/** A port access. `data` is live: for `in` it is to be filled before the next run. */
export interface IoExit {
  /** KVM_EXIT_IO. */
  reason: 'io'
  /** By the guest: `'in'` reads the port. */
  direction: 'in' | 'out'
  /** 0 to 65535. */
  port: number
  /** Bytes of one access: 1, 2 or 4. */
  size: number
  /** Accesses, one after the other in `data`. */
  count: number
  /** `size * count` bytes. */
  data: Uint8Array
}

/** A memory access where there is no memory. `data` is live: for a read it is to be filled before the next run. */
export interface MmioExit {
  /** KVM_EXIT_MMIO. */
  reason: 'mmio'
  /** By the guest. */
  direction: 'read' | 'write'
  /** Guest-physical. */
  address: bigint
  /** 1 to 8 bytes. */
  data: Uint8Array
}

/** KVM_CAP_X86_USER_SPACE_MSR. Answered by `msrData` and `msrError` of the run page. */
export interface MsrExit {
  /** KVM_EXIT_X86_RDMSR or KVM_EXIT_X86_WRMSR. */
  reason: 'rdmsr' | 'wrmsr'
  /** Which MSR. */
  index: number
  /** The value written; for `rdmsr` what the run page holds. */
  data: bigint
  /** KVM_MSR_EXIT_REASON_*. */
  cause: 'invalid' | 'unknown' | 'filter'
}

/** KVM itself, or its emulator, could not go on. */
export interface InternalErrorExit {
  /** KVM_EXIT_INTERNAL_ERROR. */
  reason: 'internal-error'
  /** KVM_INTERNAL_ERROR_*. */
  suberror: number
  /** The suberror by name where it has one. */
  name:
    | 'emulation'
    | 'simultaneous-exceptions'
    | 'delivery-event'
    | 'unexpected-exit-reason'
    | 'unknown'
  /** What KVM says about it: its meaning depends on the suberror and on the host's CPU. */
  data: bigint[]
  /** The guest's instruction that could not be emulated, where KVM gives it. */
  instruction?: Uint8Array
}

/** What a KVM_EXIT_SYSTEM_EVENT is for. */
export interface SystemEventExit {
  /** KVM_EXIT_SYSTEM_EVENT. */
  reason: 'system-event'
  /** KVM_SYSTEM_EVENT_*. */
  type: number
  /** The type by name. */
  event:
    | 'shutdown'
    | 'reset'
    | 'crash'
    | 'wakeup'
    | 'suspend'
    | 'sev-term'
    | 'tdx-fatal'
    | 'unknown'
  /** What comes with some of them. */
  data: bigint[]
}

/** What a KVM_EXIT_HYPERV is for. */
export type HypervExit = { reason: 'hyperv' } & (
  | { type: 'synic'; msr: number; control: bigint; evtPage: bigint; msgPage: bigint }
  | { type: 'hcall'; input: bigint; params: bigint[] }
  | {
      type: 'syndbg'
      msr: number
      control: bigint
      status: bigint
      sendPage: bigint
      recvPage: bigint
      pendingPage: bigint
    }
  | { type: 'unknown'; number: number }
)

/**
 * Why KVM_RUN returned, with all that the kernel tells. What wants an answer gets it in the run page: by its setters, or
 * where it has none by its `struct` (`struct.hyperv.hcall.result`, `struct.xen.hcall.result`, `struct.tdx.ret`,
 * `struct.snp_req_certs.ret`).
 */
export type VcpuExit =
  | { reason: 'unknown'; hardwareExitReason: bigint }
  | { reason: 'exception'; exception: number; errorCode: number }
  | IoExit
  | { reason: 'hypercall'; number: bigint; args: bigint[]; longMode: boolean }
  | { reason: 'debug'; exception: number; pc: bigint; dr6: bigint; dr7: bigint }
  | { reason: 'hlt' }
  | MmioExit
  | { reason: 'irq-window-open' }
  | { reason: 'shutdown' }
  | { reason: 'fail-entry'; hardwareEntryFailureReason: bigint; cpu: number }
  | { reason: 'interrupted' }
  | { reason: 'set-tpr'; cr8: bigint }
  | { reason: 'tpr-access'; rip: bigint; isWrite: boolean }
  | { reason: 'nmi' }
  | InternalErrorExit
  | SystemEventExit
  | { reason: 'ioapic-eoi'; vector: number }
  | HypervExit
  | MsrExit
  | { reason: 'dirty-ring-full' }
  | { reason: 'ap-reset-hold' }
  | { reason: 'bus-lock' }
  | {
      reason: 'xen'
      type: number
      longMode: boolean
      cpl: number
      input: bigint
      params: bigint[]
    }
  | { reason: 'notify'; contextInvalid: boolean }
  | { reason: 'memory-fault'; isPrivate: boolean; address: bigint; size: bigint; flags: bigint }
  | { reason: 'tdx'; flags: bigint; number: bigint; data: bigint[] }
  | { reason: 'snp-req-certs'; address: bigint; pages: bigint }
  /** One that this version does not know, or of another architecture. */
  | { reason: 'other'; number: number }
