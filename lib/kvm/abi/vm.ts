import { array, type StructOf, struct, u32, u64 } from '../../util/struct.js'

/** The KVM API version that every kernel since 2.6.22 has. */
export const KVM_API_VERSION = 12

/** KVM_CREATE_VM's types. */
export const KVM_X86_DEFAULT_VM = 0
export const KVM_X86_SW_PROTECTED_VM = 1
export const KVM_X86_SEV_VM = 2
export const KVM_X86_SEV_ES_VM = 3
export const KVM_X86_SNP_VM = 4
export const KVM_X86_TDX_VM = 5

/** KVM_ENABLE_CAP. */
export const KvmEnableCap = struct('kvm_enable_cap', 104, {
  cap: u32(0),
  flags: u32(4),
  args: array(u64, 8, 4),
})
export type KvmEnableCap = StructOf<typeof KvmEnableCap>

/** KVM_GET_CLOCK, KVM_SET_CLOCK: kvmclock in nanoseconds. */
export const KvmClockData = struct('kvm_clock_data', 48, {
  clock: u64(0),
  flags: u32(8),
  realtime: u64(16),
  host_tsc: u64(24),
})
export type KvmClockData = StructOf<typeof KvmClockData>
export const KVM_CLOCK_TSC_STABLE = 2
export const KVM_CLOCK_REALTIME = 4
export const KVM_CLOCK_HOST_TSC = 8

/** KVM_SET_PMU_EVENT_FILTER: this header, then the events. */
export const KvmPmuEventFilter = struct('kvm_pmu_event_filter', 32, {
  action: u32(0),
  nevents: u32(4),
  fixed_counter_bitmap: u32(8),
  flags: u32(12),
})
export type KvmPmuEventFilter = StructOf<typeof KvmPmuEventFilter>
export const KVM_PMU_EVENT_ALLOW = 0
export const KVM_PMU_EVENT_DENY = 1
export const KVM_PMU_EVENT_FLAG_MASKED_EVENTS = 1
/** The most events that KVM_SET_PMU_EVENT_FILTER takes. */
export const KVM_PMU_EVENT_FILTER_MAX_EVENTS = 300

/** Arguments of capabilities to enable. */
export const KVM_X86_DISABLE_EXITS_MWAIT = 1
export const KVM_X86_DISABLE_EXITS_HLT = 2
export const KVM_X86_DISABLE_EXITS_PAUSE = 4
export const KVM_X86_DISABLE_EXITS_CSTATE = 8
export const KVM_X86_DISABLE_EXITS_APERFMPERF = 16
export const KVM_X86_QUIRK_LINT0_REENABLED = 1 << 0
export const KVM_X86_QUIRK_CD_NW_CLEARED = 1 << 1
export const KVM_X86_QUIRK_LAPIC_MMIO_HOLE = 1 << 2
export const KVM_X86_QUIRK_OUT_7E_INC_RIP = 1 << 3
export const KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT = 1 << 4
export const KVM_X86_QUIRK_FIX_HYPERCALL_INSN = 1 << 5
export const KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS = 1 << 6
export const KVM_X86_QUIRK_SLOT_ZAP_ALL = 1 << 7
export const KVM_X86_QUIRK_STUFF_FEATURE_MSRS = 1 << 8
export const KVM_X86_QUIRK_IGNORE_GUEST_PAT = 1 << 9
export const KVM_X86_QUIRK_VMCS12_ALLOW_FREEZE_IN_SMM = 1 << 10
export const KVM_X2APIC_API_USE_32BIT_IDS = 1
export const KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK = 2
export const KVM_X2APIC_ENABLE_SUPPRESS_EOI_BROADCAST = 4
export const KVM_X2APIC_DISABLE_SUPPRESS_EOI_BROADCAST = 8
export const KVM_BUS_LOCK_DETECTION_OFF = 1
export const KVM_BUS_LOCK_DETECTION_EXIT = 2
export const KVM_PMU_CAP_DISABLE = 1
export const KVM_X86_NOTIFY_VMEXIT_ENABLED = 1
export const KVM_X86_NOTIFY_VMEXIT_USER = 2

/** KVM_CREATE_DEVICE. */
export const KVM_CREATE_DEVICE_TEST = 1
export const KVM_DEV_TYPE_VFIO = 4
export const KVM_DEV_VFIO_FILE = 1
export const KVM_DEV_VFIO_FILE_ADD = 1
export const KVM_DEV_VFIO_FILE_DEL = 2
/** The older names of the same. */
export const KVM_DEV_VFIO_GROUP = KVM_DEV_VFIO_FILE
export const KVM_DEV_VFIO_GROUP_ADD = KVM_DEV_VFIO_FILE_ADD
export const KVM_DEV_VFIO_GROUP_DEL = KVM_DEV_VFIO_FILE_DEL

/** Groups and attributes of KVM_*_DEVICE_ATTR on the system descriptor and on a vCPU. */
export const KVM_X86_GRP_SYSTEM = 0
export const KVM_X86_XCOMP_GUEST_SUPP = 0
export const KVM_X86_GRP_SEV = 1
export const KVM_X86_SEV_VMSA_FEATURES = 0
export const KVM_X86_SNP_POLICY_BITS = 1
export const KVM_X86_SEV_SNP_REQ_CERTS = 2
export const KVM_VCPU_TSC_CTRL = 0
export const KVM_VCPU_TSC_OFFSET = 0
