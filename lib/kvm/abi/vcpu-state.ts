import {
  address64,
  array,
  nested,
  type StructOf,
  struct,
  u8,
  u16,
  u32,
  u64,
} from '../../util/struct.js'

/** KVM_GET_MP_STATE, KVM_SET_MP_STATE. */
export const KvmMpState = struct('kvm_mp_state', 4, { mp_state: u32(0) })
export type KvmMpState = StructOf<typeof KvmMpState>
export const KVM_MP_STATE_RUNNABLE = 0
export const KVM_MP_STATE_UNINITIALIZED = 1
export const KVM_MP_STATE_INIT_RECEIVED = 2
export const KVM_MP_STATE_HALTED = 3
export const KVM_MP_STATE_SIPI_RECEIVED = 4
export const KVM_MP_STATE_STOPPED = 5
export const KVM_MP_STATE_CHECK_STOP = 6
export const KVM_MP_STATE_OPERATING = 7
export const KVM_MP_STATE_LOAD = 8
export const KVM_MP_STATE_AP_RESET_HOLD = 9
export const KVM_MP_STATE_SUSPENDED = 10

const Exception = struct('kvm_vcpu_events.exception', 8, {
  injected: u8(0),
  nr: u8(1),
  has_error_code: u8(2),
  pending: u8(3),
  error_code: u32(4),
})
const Interrupt = struct('kvm_vcpu_events.interrupt', 4, {
  injected: u8(0),
  nr: u8(1),
  soft: u8(2),
  shadow: u8(3),
})
const Nmi = struct('kvm_vcpu_events.nmi', 4, { injected: u8(0), pending: u8(1), masked: u8(2) })
const Smi = struct('kvm_vcpu_events.smi', 4, {
  smm: u8(0),
  pending: u8(1),
  smm_inside_nmi: u8(2),
  latched_init: u8(3),
})
const TripleFault = struct('kvm_vcpu_events.triple_fault', 1, { pending: u8(0) })

/** Pending and injected events: KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS. */
export const KvmVcpuEvents = struct('kvm_vcpu_events', 64, {
  exception: nested(Exception, 0),
  interrupt: nested(Interrupt, 8),
  nmi: nested(Nmi, 12),
  sipi_vector: u32(16),
  flags: u32(20),
  smi: nested(Smi, 24),
  triple_fault: nested(TripleFault, 28),
  exception_has_payload: u8(55),
  exception_payload: u64(56),
})
export type KvmVcpuEvents = StructOf<typeof KvmVcpuEvents>
export const KVM_VCPUEVENT_VALID_NMI_PENDING = 0x00000001
export const KVM_VCPUEVENT_VALID_SIPI_VECTOR = 0x00000002
export const KVM_VCPUEVENT_VALID_SHADOW = 0x00000004
export const KVM_VCPUEVENT_VALID_SMM = 0x00000008
export const KVM_VCPUEVENT_VALID_PAYLOAD = 0x00000010
export const KVM_VCPUEVENT_VALID_TRIPLE_FAULT = 0x00000020
export const KVM_X86_SHADOW_INT_MOV_SS = 0x01
export const KVM_X86_SHADOW_INT_STI = 0x02

/** KVM_SET_GUEST_DEBUG. */
export const KvmGuestDebug = struct('kvm_guest_debug', 72, {
  control: u32(0),
  debugreg: array(u64, 8, 8),
})
export type KvmGuestDebug = StructOf<typeof KvmGuestDebug>
export const KVM_GUESTDBG_ENABLE = 0x00000001
export const KVM_GUESTDBG_SINGLESTEP = 0x00000002
export const KVM_GUESTDBG_USE_SW_BP = 0x00010000
export const KVM_GUESTDBG_USE_HW_BP = 0x00020000
export const KVM_GUESTDBG_INJECT_DB = 0x00040000
export const KVM_GUESTDBG_INJECT_BP = 0x00080000
export const KVM_GUESTDBG_BLOCKIRQ = 0x00100000

/** KVM_INTERRUPT: `irq` is the vector. */
export const KvmInterrupt = struct('kvm_interrupt', 4, { irq: u32(0) })
export type KvmInterrupt = StructOf<typeof KvmInterrupt>

/** KVM_TRANSLATE: linear to guest-physical, `physical_address` all ones where not `valid`. */
export const KvmTranslation = struct('kvm_translation', 24, {
  linear_address: u64(0),
  physical_address: u64(8),
  valid: u8(16),
  writeable: u8(17),
  usermode: u8(18),
})
export type KvmTranslation = StructOf<typeof KvmTranslation>

/** KVM_TPR_ACCESS_REPORTING. */
export const KvmTprAccessCtl = struct('kvm_tpr_access_ctl', 40, { enabled: u32(0), flags: u32(4) })
export type KvmTprAccessCtl = StructOf<typeof KvmTprAccessCtl>

/** KVM_SET_VAPIC_ADDR. */
export const KvmVapicAddr = struct('kvm_vapic_addr', 8, { vapic_addr: address64(0) })
export type KvmVapicAddr = StructOf<typeof KvmVapicAddr>

/** KVM_X86_SET_MCE: a machine check to inject. */
export const KvmX86Mce = struct('kvm_x86_mce', 64, {
  status: u64(0),
  addr: u64(8),
  misc: u64(16),
  mcg_status: u64(24),
  bank: u8(32),
})
export type KvmX86Mce = StructOf<typeof KvmX86Mce>

const VmxNestedSmm = struct('kvm_vmx_nested_state_hdr.smm', 2, { flags: u16(0) })
const VmxNestedHdr = struct('kvm_vmx_nested_state_hdr', 32, {
  vmxon_pa: u64(0),
  vmcs12_pa: u64(8),
  smm: nested(VmxNestedSmm, 16),
  flags: u32(20),
  preemption_timer_deadline: u64(24),
})
const SvmNestedHdr = struct('kvm_svm_nested_state_hdr', 8, { vmcb_pa: u64(0) })

/** The header of the nested virtualization state; vmcs12 or vmcb12 follow: KVM_GET_NESTED_STATE, KVM_SET_NESTED_STATE. */
export const KvmNestedState = struct('kvm_nested_state', 128, {
  flags: u16(0),
  format: u16(2),
  size: u32(4),
  vmx: nested(VmxNestedHdr, 8),
  svm: nested(SvmNestedHdr, 8),
})
export type KvmNestedState = StructOf<typeof KvmNestedState>
export const KVM_STATE_NESTED_FORMAT_VMX = 0
export const KVM_STATE_NESTED_FORMAT_SVM = 1
export const KVM_STATE_NESTED_GUEST_MODE = 0x00000001
export const KVM_STATE_NESTED_RUN_PENDING = 0x00000002
export const KVM_STATE_NESTED_EVMCS = 0x00000004
export const KVM_STATE_NESTED_MTF_PENDING = 0x00000008
export const KVM_STATE_NESTED_GIF_SET = 0x00000100
export const KVM_STATE_NESTED_SMM_GUEST_MODE = 0x00000001
export const KVM_STATE_NESTED_SMM_VMXON = 0x00000002
export const KVM_STATE_NESTED_VMX_VMCS_SIZE = 0x1000
export const KVM_STATE_NESTED_SVM_VMCB_SIZE = 0x1000
export const KVM_STATE_VMX_PREEMPTION_TIMER_DEADLINE = 0x00000001
