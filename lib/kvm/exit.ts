import * as abi from './abi/exits.js'
import type { RunPage } from './run-page.js'

/** A port access. `data` is live: for `in` it is to be filled before the next run. */
export interface IoExit {
  reason: 'io'
  direction: 'in' | 'out'
  port: number
  /** Bytes of one access: 1, 2 or 4. */
  size: number
  /** Accesses, one after the other in `data`. */
  count: number
  data: Uint8Array
}

/** A memory access where there is no memory. `data` is live: for a read it is to be filled before the next run. */
export interface MmioExit {
  reason: 'mmio'
  direction: 'read' | 'write'
  /** Guest-physical. */
  address: bigint
  data: Uint8Array
}

/** KVM_CAP_X86_USER_SPACE_MSR. Answered by `msrData` and `msrError` of the run page. */
export interface MsrExit {
  reason: 'rdmsr' | 'wrmsr'
  index: number
  /** The value written; for `rdmsr` what the run page holds. */
  data: bigint
  cause: 'invalid' | 'unknown' | 'filter'
}

/** KVM itself, or its emulator, could not go on. */
export interface InternalErrorExit {
  reason: 'internal-error'
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

export interface SystemEventExit {
  reason: 'system-event'
  type: number
  event:
    | 'shutdown'
    | 'reset'
    | 'crash'
    | 'wakeup'
    | 'suspend'
    | 'sev-term'
    | 'tdx-fatal'
    | 'unknown'
  data: bigint[]
}

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

/** Why KVM_RUN returned, with all that the kernel tells. */
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

const INTERNAL_ERRORS: Record<number, InternalErrorExit['name']> = {
  [abi.KVM_INTERNAL_ERROR_EMULATION]: 'emulation',
  [abi.KVM_INTERNAL_ERROR_SIMUL_EX]: 'simultaneous-exceptions',
  [abi.KVM_INTERNAL_ERROR_DELIVERY_EV]: 'delivery-event',
  [abi.KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON]: 'unexpected-exit-reason',
}

const SYSTEM_EVENTS: Record<number, SystemEventExit['event']> = {
  [abi.KVM_SYSTEM_EVENT_SHUTDOWN]: 'shutdown',
  [abi.KVM_SYSTEM_EVENT_RESET]: 'reset',
  [abi.KVM_SYSTEM_EVENT_CRASH]: 'crash',
  [abi.KVM_SYSTEM_EVENT_WAKEUP]: 'wakeup',
  [abi.KVM_SYSTEM_EVENT_SUSPEND]: 'suspend',
  [abi.KVM_SYSTEM_EVENT_SEV_TERM]: 'sev-term',
  [abi.KVM_SYSTEM_EVENT_TDX_FATAL]: 'tdx-fatal',
}

/** What {@link RunPage.exit} returns. */
export function decodeExit(page: RunPage): VcpuExit {
  const run = page.struct
  switch (run.exit_reason) {
    case abi.KVM_EXIT_UNKNOWN:
      return { reason: 'unknown', hardwareExitReason: run.hw.hardware_exit_reason }
    case abi.KVM_EXIT_EXCEPTION:
      return { reason: 'exception', exception: run.ex.exception, errorCode: run.ex.error_code }
    case abi.KVM_EXIT_IO:
      return io(page)
    case abi.KVM_EXIT_HYPERCALL: {
      const { nr, args, flags } = run.hypercall
      return {
        reason: 'hypercall',
        number: nr,
        args,
        longMode: (flags & abi.KVM_EXIT_HYPERCALL_LONG_MODE) !== 0n,
      }
    }
    case abi.KVM_EXIT_DEBUG: {
      const { exception, pc, dr6, dr7 } = run.debug
      return { reason: 'debug', exception, pc, dr6, dr7 }
    }
    case abi.KVM_EXIT_HLT:
      return { reason: 'hlt' }
    case abi.KVM_EXIT_MMIO:
      return mmio(page)
    case abi.KVM_EXIT_IRQ_WINDOW_OPEN:
      return { reason: 'irq-window-open' }
    case abi.KVM_EXIT_SHUTDOWN:
      return { reason: 'shutdown' }
    case abi.KVM_EXIT_FAIL_ENTRY:
      return {
        reason: 'fail-entry',
        hardwareEntryFailureReason: run.fail_entry.hardware_entry_failure_reason,
        cpu: run.fail_entry.cpu,
      }
    case abi.KVM_EXIT_INTR:
      return { reason: 'interrupted' }
    case abi.KVM_EXIT_SET_TPR:
      return { reason: 'set-tpr', cr8: run.cr8 }
    case abi.KVM_EXIT_TPR_ACCESS:
      return {
        reason: 'tpr-access',
        rip: run.tpr_access.rip,
        isWrite: run.tpr_access.is_write !== 0,
      }
    case abi.KVM_EXIT_NMI:
      return { reason: 'nmi' }
    case abi.KVM_EXIT_INTERNAL_ERROR:
      return internalError(page)
    case abi.KVM_EXIT_SYSTEM_EVENT: {
      const { type, ndata, data } = run.system_event
      return {
        reason: 'system-event',
        type,
        event: SYSTEM_EVENTS[type] ?? 'unknown',
        data: data.slice(0, ndata),
      }
    }
    case abi.KVM_EXIT_IOAPIC_EOI:
      return { reason: 'ioapic-eoi', vector: run.eoi.vector }
    case abi.KVM_EXIT_HYPERV:
      return hyperv(page)
    case abi.KVM_EXIT_X86_RDMSR:
      return msr(page, 'rdmsr')
    case abi.KVM_EXIT_X86_WRMSR:
      return msr(page, 'wrmsr')
    case abi.KVM_EXIT_DIRTY_RING_FULL:
      return { reason: 'dirty-ring-full' }
    case abi.KVM_EXIT_AP_RESET_HOLD:
      return { reason: 'ap-reset-hold' }
    case abi.KVM_EXIT_X86_BUS_LOCK:
      return { reason: 'bus-lock' }
    case abi.KVM_EXIT_XEN: {
      const { type, hcall } = run.xen
      const { longmode, cpl, input, params } = hcall
      return { reason: 'xen', type, longMode: longmode !== 0, cpl, input, params }
    }
    case abi.KVM_EXIT_NOTIFY:
      return {
        reason: 'notify',
        contextInvalid: (run.notify.flags & abi.KVM_NOTIFY_CONTEXT_INVALID) !== 0,
      }
    case abi.KVM_EXIT_MEMORY_FAULT: {
      const { flags, gpa, size } = run.memory_fault
      const isPrivate = (flags & abi.KVM_MEMORY_EXIT_FLAG_PRIVATE) !== 0n
      return { reason: 'memory-fault', isPrivate, address: gpa, size, flags }
    }
    case abi.KVM_EXIT_TDX: {
      const { flags, nr, data } = run.tdx
      return { reason: 'tdx', flags, number: nr, data }
    }
    case abi.KVM_EXIT_SNP_REQ_CERTS: {
      const { gpa, npages } = run.snp_req_certs
      return { reason: 'snp-req-certs', address: gpa, pages: npages }
    }
    default:
      return { reason: 'other', number: run.exit_reason }
  }
}

function io(page: RunPage): IoExit {
  const { ioSize: size, ioPort: port, ioCount: count } = page
  const start = page.ioDataOffset()
  // The kernel keeps this in the mapping; subarray would clamp it in any case.
  const data = page.bytes.subarray(start, start + size * count)
  return { reason: 'io', direction: page.ioIsIn ? 'in' : 'out', port, size, count, data }
}

function mmio(page: RunPage): MmioExit {
  const { phys_addr: address, len } = page.struct.mmio
  const start = page.mmioDataOffset
  const data = page.bytes.subarray(start, start + Math.min(len, 8))
  return { reason: 'mmio', direction: page.mmioIsWrite ? 'write' : 'read', address, data }
}

function msr(page: RunPage, reason: 'rdmsr' | 'wrmsr'): MsrExit {
  const { msrIndex: index, msrData: data, msrReason } = page
  const cause = msrReason === 1 ? 'invalid' : msrReason === 2 ? 'unknown' : 'filter'
  return { reason, index, data, cause }
}

function internalError(page: RunPage): InternalErrorExit {
  const { suberror, ndata, data } = page.struct.internal
  const exit: InternalErrorExit = {
    reason: 'internal-error',
    suberror,
    name: INTERNAL_ERRORS[suberror] ?? 'unknown',
    data: data.slice(0, ndata),
  }
  const failure = page.struct.emulation_failure
  const hasBytes = abi.KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES
  if (suberror === abi.KVM_INTERNAL_ERROR_EMULATION && ndata >= 3 && failure.flags & hasBytes) {
    exit.instruction = failure.insn_bytes.slice(0, failure.insn_size)
  }
  return exit
}

function hyperv(page: RunPage): HypervExit {
  const { type, synic, hcall, syndbg } = page.struct.hyperv
  switch (type) {
    case abi.KVM_EXIT_HYPERV_SYNIC: {
      const { msr, control, evt_page, msg_page } = synic
      return { reason: 'hyperv', type: 'synic', msr, control, evtPage: evt_page, msgPage: msg_page }
    }
    case abi.KVM_EXIT_HYPERV_HCALL:
      return { reason: 'hyperv', type: 'hcall', input: hcall.input, params: hcall.params }
    case abi.KVM_EXIT_HYPERV_SYNDBG: {
      const { msr, control, status, send_page, recv_page, pending_page } = syndbg
      return {
        reason: 'hyperv',
        type: 'syndbg',
        msr,
        control,
        status,
        sendPage: send_page,
        recvPage: recv_page,
        pendingPage: pending_page,
      }
    }
    default:
      return { reason: 'hyperv', type: 'unknown', number: type }
  }
}
