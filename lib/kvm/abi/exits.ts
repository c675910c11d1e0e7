/** `exit_reason` of the run page. Those of other architectures are here by name only. */

export const KVM_EXIT_UNKNOWN = 0
export const KVM_EXIT_EXCEPTION = 1
export const KVM_EXIT_IO = 2
export const KVM_EXIT_HYPERCALL = 3
export const KVM_EXIT_DEBUG = 4
export const KVM_EXIT_HLT = 5
export const KVM_EXIT_MMIO = 6
export const KVM_EXIT_IRQ_WINDOW_OPEN = 7
export const KVM_EXIT_SHUTDOWN = 8
export const KVM_EXIT_FAIL_ENTRY = 9
export const KVM_EXIT_INTR = 10
export const KVM_EXIT_SET_TPR = 11
export const KVM_EXIT_TPR_ACCESS = 12
export const KVM_EXIT_S390_SIEIC = 13
export const KVM_EXIT_S390_RESET = 14
export const KVM_EXIT_DCR = 15
export const KVM_EXIT_NMI = 16
export const KVM_EXIT_INTERNAL_ERROR = 17
export const KVM_EXIT_OSI = 18
export const KVM_EXIT_PAPR_HCALL = 19
export const KVM_EXIT_S390_UCONTROL = 20
export const KVM_EXIT_WATCHDOG = 21
export const KVM_EXIT_S390_TSCH = 22
export const KVM_EXIT_EPR = 23
export const KVM_EXIT_SYSTEM_EVENT = 24
export const KVM_EXIT_S390_STSI = 25
export const KVM_EXIT_IOAPIC_EOI = 26
export const KVM_EXIT_HYPERV = 27
export const KVM_EXIT_ARM_NISV = 28
export const KVM_EXIT_X86_RDMSR = 29
export const KVM_EXIT_X86_WRMSR = 30
export const KVM_EXIT_DIRTY_RING_FULL = 31
export const KVM_EXIT_AP_RESET_HOLD = 32
export const KVM_EXIT_X86_BUS_LOCK = 33
export const KVM_EXIT_XEN = 34
export const KVM_EXIT_RISCV_SBI = 35
export const KVM_EXIT_RISCV_CSR = 36
export const KVM_EXIT_NOTIFY = 37
export const KVM_EXIT_LOONGARCH_IOCSR = 38
export const KVM_EXIT_MEMORY_FAULT = 39
export const KVM_EXIT_TDX = 40
export const KVM_EXIT_ARM_SEA = 41
export const KVM_EXIT_ARM_LDST64B = 42
export const KVM_EXIT_SNP_REQ_CERTS = 43

export const KVM_EXIT_IO_IN = 0
export const KVM_EXIT_IO_OUT = 1

/** `suberror` of KVM_EXIT_INTERNAL_ERROR. */
export const KVM_INTERNAL_ERROR_EMULATION = 1
export const KVM_INTERNAL_ERROR_SIMUL_EX = 2
export const KVM_INTERNAL_ERROR_DELIVERY_EV = 3
export const KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON = 4
export const KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES = 1n

/** `type` of KVM_EXIT_SYSTEM_EVENT. */
export const KVM_SYSTEM_EVENT_SHUTDOWN = 1
export const KVM_SYSTEM_EVENT_RESET = 2
export const KVM_SYSTEM_EVENT_CRASH = 3
export const KVM_SYSTEM_EVENT_WAKEUP = 4
export const KVM_SYSTEM_EVENT_SUSPEND = 5
export const KVM_SYSTEM_EVENT_SEV_TERM = 6
export const KVM_SYSTEM_EVENT_TDX_FATAL = 7

/** `type` of KVM_EXIT_HYPERV and KVM_EXIT_XEN. */
export const KVM_EXIT_HYPERV_SYNIC = 1
export const KVM_EXIT_HYPERV_HCALL = 2
export const KVM_EXIT_HYPERV_SYNDBG = 3
export const KVM_EXIT_XEN_HCALL = 1

export const KVM_EXIT_HYPERCALL_LONG_MODE = 1n
export const KVM_NOTIFY_CONTEXT_INVALID = 1
export const KVM_MEMORY_EXIT_FLAG_PRIVATE = 8n
