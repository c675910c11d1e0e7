import * as abi from './abi/exits.js'
import type {
  HypervExit,
  InternalErrorExit,
  IoExit,
  MmioExit,
  MsrExit,
  SystemEventExit,
  VcpuExit,
} from './exit.js'
import type { RunPage } from './run-page.js'

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
