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

/** General registers: KVM_GET_REGS, KVM_SET_REGS. */
export const KvmRegs = struct('kvm_regs', 144, {
  rax: u64(0),
  rbx: u64(8),
  rcx: u64(16),
  rdx: u64(24),
  rsi: u64(32),
  rdi: u64(40),
  rsp: u64(48),
  rbp: u64(56),
  r8: u64(64),
  r9: u64(72),
  r10: u64(80),
  r11: u64(88),
  r12: u64(96),
  r13: u64(104),
  r14: u64(112),
  r15: u64(120),
  rip: u64(128),
  rflags: u64(136),
})
export type KvmRegs = StructOf<typeof KvmRegs>

/** A segment register with its hidden part. `limit` is in bytes, whatever `g` says. */
export const KvmSegment = struct('kvm_segment', 24, {
  base: u64(0),
  limit: u32(8),
  selector: u16(12),
  type: u8(14),
  present: u8(15),
  dpl: u8(16),
  db: u8(17),
  s: u8(18),
  l: u8(19),
  g: u8(20),
  avl: u8(21),
  unusable: u8(22),
})
export type KvmSegment = StructOf<typeof KvmSegment>

/** GDTR or IDTR. */
export const KvmDtable = struct('kvm_dtable', 16, { base: u64(0), limit: u16(8) })
export type KvmDtable = StructOf<typeof KvmDtable>

/** What `kvm_sregs` and `kvm_sregs2` begin with. */
const SREGS = {
  cs: nested(KvmSegment, 0),
  ds: nested(KvmSegment, 24),
  es: nested(KvmSegment, 48),
  fs: nested(KvmSegment, 72),
  gs: nested(KvmSegment, 96),
  ss: nested(KvmSegment, 120),
  tr: nested(KvmSegment, 144),
  ldt: nested(KvmSegment, 168),
  gdt: nested(KvmDtable, 192),
  idt: nested(KvmDtable, 208),
  cr0: u64(224),
  cr2: u64(232),
  cr3: u64(240),
  cr4: u64(248),
  cr8: u64(256),
  efer: u64(264),
  apic_base: u64(272),
}

/** Special registers: KVM_GET_SREGS, KVM_SET_SREGS. */
export const KvmSregs = struct('kvm_sregs', 312, {
  ...SREGS,
  interrupt_bitmap: array(u64, 280, 4),
})
export type KvmSregs = StructOf<typeof KvmSregs>

/** Special registers with the PDPTRs: KVM_GET_SREGS2, KVM_SET_SREGS2. */
export const KvmSregs2 = struct('kvm_sregs2', 320, {
  ...SREGS,
  flags: u64(280),
  pdptrs: array(u64, 288, 4),
})
export type KvmSregs2 = StructOf<typeof KvmSregs2>
export const KVM_SREGS2_FLAGS_PDPTRS_VALID = 1n

/** x87 and SSE state: KVM_GET_FPU, KVM_SET_FPU. */
export const KvmFpu = struct('kvm_fpu', 416, {
  fpr: array((offset) => bytes(offset, 16), 0, 8),
  fcw: u16(128),
  fsw: u16(130),
  ftwx: u8(132),
  last_opcode: u16(134),
  last_ip: u64(136),
  last_dp: u64(144),
  xmm: array((offset) => bytes(offset, 16), 152, 16),
  mxcsr: u32(408),
})
export type KvmFpu = StructOf<typeof KvmFpu>

/** Debug registers: KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS. */
export const KvmDebugregs = struct('kvm_debugregs', 128, {
  db: array(u64, 0, 4),
  dr6: u64(32),
  dr7: u64(40),
  flags: u64(48),
})
export type KvmDebugregs = StructOf<typeof KvmDebugregs>

export const KVM_MAX_XCRS = 16

/** `struct kvm_xcr`. */
export const KvmXcr = struct('kvm_xcr', 16, { xcr: u32(0), value: u64(8) })
/** `struct kvm_xcr`. */
export type KvmXcr = StructOf<typeof KvmXcr>

/** Extended control registers: KVM_GET_XCRS, KVM_SET_XCRS. The first `nr_xcrs` entries count. */
export const KvmXcrs = struct('kvm_xcrs', 392, {
  nr_xcrs: u32(0),
  flags: u32(4),
  xcrs: array((offset) => nested(KvmXcr, offset), 8, KVM_MAX_XCRS),
})
export type KvmXcrs = StructOf<typeof KvmXcrs>

/** Bytes of `kvm_xsave` without dynamically enabled features. */
export const KVM_XSAVE_SIZE = 4096

/** Bytes of the local APIC's register page: KVM_GET_LAPIC, KVM_SET_LAPIC. */
export const KVM_APIC_REG_SIZE = 0x400

/** KVM_GET_ONE_REG and KVM_SET_ONE_REG: parts of a register's id. */
export const KVM_REG_X86 = 0x2000000000000000n
export const KVM_REG_SIZE_MASK = 0x00f0000000000000n
export const KVM_REG_SIZE_SHIFT = 52n
export const KVM_REG_ARCH_MASK = 0xff00000000000000n
export const KVM_REG_SIZE_U8 = 0x0000000000000000n
export const KVM_REG_SIZE_U16 = 0x0010000000000000n
export const KVM_REG_SIZE_U32 = 0x0020000000000000n
export const KVM_REG_SIZE_U64 = 0x0030000000000000n
export const KVM_REG_SIZE_U128 = 0x0040000000000000n
export const KVM_REG_SIZE_U256 = 0x0050000000000000n
export const KVM_REG_SIZE_U512 = 0x0060000000000000n
export const KVM_REG_SIZE_U1024 = 0x0070000000000000n
export const KVM_REG_SIZE_U2048 = 0x0080000000000000n
export const KVM_X86_REG_TYPE_MSR = 2
export const KVM_X86_REG_TYPE_KVM = 3
/** The guest's shadow stack pointer, of type KVM_X86_REG_TYPE_KVM. */
export const KVM_REG_GUEST_SSP = 0
