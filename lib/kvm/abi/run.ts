import {
  array,
  bytes,
  nested,
  type StructOf,
  struct,
  u8,
  u16,
  u32,
  u64,
} from '../../util/struct.js'
import { KvmRegs, KvmSregs } from './registers.js'
import { KvmVcpuEvents } from './vcpu-state.js'

const Hw = struct('kvm_run.hw', 8, { hardware_exit_reason: u64(0) })
const FailEntry = struct('kvm_run.fail_entry', 16, {
  hardware_entry_failure_reason: u64(0),
  cpu: u32(8),
})
const Ex = struct('kvm_run.ex', 8, { exception: u32(0), error_code: u32(4) })
const Io = struct('kvm_run.io', 16, {
  direction: u8(0),
  size: u8(1),
  port: u16(2),
  count: u32(4),
  data_offset: u64(8),
})
const Debug = struct('kvm_debug_exit_arch', 32, {
  exception: u32(0),
  pc: u64(8),
  dr6: u64(16),
  dr7: u64(24),
})
const Mmio = struct('kvm_run.mmio', 24, {
  phys_addr: u64(0),
  data: bytes(8, 8),
  len: u32(16),
  is_write: u8(20),
})
const Hypercall = struct('kvm_run.hypercall', 72, {
  nr: u64(0),
  args: array(u64, 8, 6),
  ret: u64(56),
  flags: u64(64),
})
const TprAccess = struct('kvm_run.tpr_access', 16, { rip: u64(0), is_write: u32(8) })
const Internal = struct('kvm_run.internal', 136, {
  suberror: u32(0),
  ndata: u32(4),
  data: array(u64, 8, 16),
})
const EmulationFailure = struct('kvm_run.emulation_failure', 32, {
  suberror: u32(0),
  ndata: u32(4),
  flags: u64(8),
  insn_size: u8(16),
  insn_bytes: bytes(17, 15),
})
const SystemEvent = struct('kvm_run.system_event', 136, {
  type: u32(0),
  ndata: u32(4),
  data: array(u64, 8, 16),
})
const Eoi = struct('kvm_run.eoi', 1, { vector: u8(0) })
const HypervSynic = struct('kvm_hyperv_exit.synic', 32, {
  msr: u32(0),
  control: u64(8),
  evt_page: u64(16),
  msg_page: u64(24),
})
const HypervHcall = struct('kvm_hyperv_exit.hcall', 32, {
  input: u64(0),
  result: u64(8),
  params: array(u64, 16, 2),
})
const HypervSyndbg = struct('kvm_hyperv_exit.syndbg', 48, {
  msr: u32(0),
  control: u64(8),
  status: u64(16),
  send_page: u64(24),
  recv_page: u64(32),
  pending_page: u64(40),
})
const Hyperv = struct('kvm_hyperv_exit', 56, {
  type: u32(0),
  synic: nested(HypervSynic, 8),
  hcall: nested(HypervHcall, 8),
  syndbg: nested(HypervSyndbg, 8),
})
const XenHcall = struct('kvm_xen_exit.hcall', 72, {
  longmode: u32(0),
  cpl: u32(4),
  input: u64(8),
  result: u64(16),
  params: array(u64, 24, 6),
})
const Xen = struct('kvm_xen_exit', 80, { type: u32(0), hcall: nested(XenHcall, 8) })
const Msr = struct('kvm_run.msr', 24, {
  error: u8(0),
  reason: u32(8),
  index: u32(12),
  data: u64(16),
})
const Notify = struct('kvm_run.notify', 4, { flags: u32(0) })
const MemoryFault = struct('kvm_run.memory_fault', 24, {
  flags: u64(0),
  gpa: u64(8),
  size: u64(16),
})
const Tdx = struct('kvm_run.tdx', 64, {
  flags: u64(0),
  nr: u64(8),
  ret: u64(16),
  data: array(u64, 24, 5),
})
const SnpReqCerts = struct('kvm_exit_snp_req_certs', 24, {
  gpa: u64(0),
  npages: u64(8),
  ret: u64(16),
})
const SyncRegs = struct('kvm_sync_regs', 520, {
  regs: nested(KvmRegs, 0),
  sregs: nested(KvmSregs, 144),
  events: nested(KvmVcpuEvents, 456),
})

/**
 * The run page, `struct kvm_run`. The fields from `hw` to `snp_req_certs` share their place: `exit_reason` says which one counts.
 * `RunPage` reads the same layout without making an object for each access.
 */
export const KvmRun = struct('kvm_run', 2352, {
  request_interrupt_window: u8(0),
  immediate_exit: u8(1),
  exit_reason: u32(8),
  ready_for_interrupt_injection: u8(12),
  if_flag: u8(13),
  flags: u16(14),
  cr8: u64(16),
  apic_base: u64(24),
  hw: nested(Hw, 32),
  fail_entry: nested(FailEntry, 32),
  ex: nested(Ex, 32),
  io: nested(Io, 32),
  debug: nested(Debug, 32),
  mmio: nested(Mmio, 32),
  hypercall: nested(Hypercall, 32),
  tpr_access: nested(TprAccess, 32),
  internal: nested(Internal, 32),
  emulation_failure: nested(EmulationFailure, 32),
  system_event: nested(SystemEvent, 32),
  eoi: nested(Eoi, 32),
  hyperv: nested(Hyperv, 32),
  xen: nested(Xen, 32),
  msr: nested(Msr, 32),
  notify: nested(Notify, 32),
  memory_fault: nested(MemoryFault, 32),
  tdx: nested(Tdx, 32),
  snp_req_certs: nested(SnpReqCerts, 32),
  kvm_valid_regs: u64(288),
  kvm_dirty_regs: u64(296),
  sync_regs: nested(SyncRegs, 304),
})
export type KvmRun = StructOf<typeof KvmRun>

/** Bits of `kvm_valid_regs` and `kvm_dirty_regs`. */
export const KVM_SYNC_X86_REGS = 1n
export const KVM_SYNC_X86_SREGS = 2n
export const KVM_SYNC_X86_EVENTS = 4n
export const KVM_SYNC_X86_VALID_FIELDS = 7n
/** Bits of `flags`. */
export const KVM_RUN_X86_SMM = 1
export const KVM_RUN_X86_BUS_LOCK = 2
export const KVM_RUN_X86_GUEST_MODE = 4
