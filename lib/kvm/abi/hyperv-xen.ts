import { nested, type StructOf, s32, struct, u8, u16, u32, u64 } from '../../util/struct.js'

/** KVM_HYPERV_EVENTFD. */
export const KVM_HYPERV_CONN_ID_MASK = 0x00ffffff
export const KVM_HYPERV_EVENTFD_DEASSIGN = 1

/** KVM_XEN_HVM_CONFIG's flags, which are also KVM_CAP_XEN_HVM's bits. */
export const KVM_XEN_HVM_CONFIG_HYPERCALL_MSR = 1 << 0
export const KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL = 1 << 1
export const KVM_XEN_HVM_CONFIG_SHARED_INFO = 1 << 2
export const KVM_XEN_HVM_CONFIG_RUNSTATE = 1 << 3
export const KVM_XEN_HVM_CONFIG_EVTCHN_2LEVEL = 1 << 4
export const KVM_XEN_HVM_CONFIG_EVTCHN_SEND = 1 << 5
export const KVM_XEN_HVM_CONFIG_RUNSTATE_UPDATE_FLAG = 1 << 6
export const KVM_XEN_HVM_CONFIG_PVCLOCK_TSC_UNSTABLE = 1 << 7
export const KVM_XEN_HVM_CONFIG_SHARED_INFO_HVA = 1 << 8
export const KVM_XEN_MSR_MIN_INDEX = 0x40000000
export const KVM_XEN_MSR_MAX_INDEX = 0x4fffffff

const EvtchnPort = struct('kvm_xen_hvm_attr.evtchn.port', 12, {
  port: u32(0),
  vcpu: u32(4),
  priority: u32(8),
})
const EvtchnEventfd = struct('kvm_xen_hvm_attr.evtchn.eventfd', 8, { port: u32(0), fd: s32(4) })
const Evtchn = struct('kvm_xen_hvm_attr.evtchn', 28, {
  send_port: u32(0),
  type: u32(4),
  flags: u32(8),
  port: nested(EvtchnPort, 12),
  eventfd: nested(EvtchnEventfd, 12),
})

/** KVM_XEN_HVM_GET_ATTR, KVM_XEN_HVM_SET_ATTR. `type` says which of the other fields counts. */
export const KvmXenHvmAttr = struct('kvm_xen_hvm_attr', 72, {
  type: u16(0),
  long_mode: u8(8),
  vector: u8(8),
  runstate_update_flag: u8(8),
  /** KVM_XEN_ATTR_TYPE_SHARED_INFO: a guest frame number. */
  shared_info_gfn: u64(8),
  evtchn: nested(Evtchn, 8),
  xen_version: u32(8),
})
export type KvmXenHvmAttr = StructOf<typeof KvmXenHvmAttr>
export const KVM_XEN_ATTR_TYPE_LONG_MODE = 0
export const KVM_XEN_ATTR_TYPE_SHARED_INFO = 1
export const KVM_XEN_ATTR_TYPE_UPCALL_VECTOR = 2
export const KVM_XEN_ATTR_TYPE_EVTCHN = 3
export const KVM_XEN_ATTR_TYPE_XEN_VERSION = 4
export const KVM_XEN_ATTR_TYPE_RUNSTATE_UPDATE_FLAG = 5
export const KVM_XEN_ATTR_TYPE_SHARED_INFO_HVA = 6
export const KVM_XEN_EVTCHN_DEASSIGN = 1
export const KVM_XEN_EVTCHN_UPDATE = 2
export const KVM_XEN_EVTCHN_RESET = 4
export const KVM_XEN_INVALID_GFN = 0xffffffffffffffffn
export const KVM_XEN_INVALID_GPA = 0xffffffffffffffffn

const Runstate = struct('kvm_xen_vcpu_attr.runstate', 48, {
  state: u64(0),
  state_entry_time: u64(8),
  time_running: u64(16),
  time_runnable: u64(24),
  time_blocked: u64(32),
  time_offline: u64(40),
})
const Timer = struct('kvm_xen_vcpu_attr.timer', 16, {
  port: u32(0),
  priority: u32(4),
  expires_ns: u64(8),
})

/** KVM_XEN_VCPU_GET_ATTR, KVM_XEN_VCPU_SET_ATTR. `type` says which of the other fields counts. */
export const KvmXenVcpuAttr = struct('kvm_xen_vcpu_attr', 72, {
  type: u16(0),
  gpa: u64(8),
  runstate: nested(Runstate, 8),
  vcpu_id: u32(8),
  timer: nested(Timer, 8),
  vector: u8(8),
})
export type KvmXenVcpuAttr = StructOf<typeof KvmXenVcpuAttr>
export const KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO = 0
export const KVM_XEN_VCPU_ATTR_TYPE_VCPU_TIME_INFO = 1
export const KVM_XEN_VCPU_ATTR_TYPE_RUNSTATE_ADDR = 2
export const KVM_XEN_VCPU_ATTR_TYPE_RUNSTATE_CURRENT = 3
export const KVM_XEN_VCPU_ATTR_TYPE_RUNSTATE_DATA = 4
export const KVM_XEN_VCPU_ATTR_TYPE_RUNSTATE_ADJUST = 5
export const KVM_XEN_VCPU_ATTR_TYPE_VCPU_ID = 6
export const KVM_XEN_VCPU_ATTR_TYPE_TIMER = 7
export const KVM_XEN_VCPU_ATTR_TYPE_UPCALL_VECTOR = 8
export const KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO_HVA = 9
