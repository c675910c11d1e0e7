import { type StructOf, struct, u32, u64 } from '../../util/struct.js'

/** A command of AMD SEV: KVM_MEMORY_ENCRYPT_OP. `data` is filled in by {@link VmFd.memoryEncryptOp}. */
export const KvmSevCmd = struct('kvm_sev_cmd', 24, {
  id: u32(0),
  data: u64(8),
  /** The firmware's error. */
  error: u32(16),
  /** A descriptor of `/dev/sev`. */
  sev_fd: u32(20),
})
export type KvmSevCmd = StructOf<typeof KvmSevCmd>
export const KVM_SEV_INIT = 0
export const KVM_SEV_ES_INIT = 1
export const KVM_SEV_LAUNCH_START = 2
export const KVM_SEV_LAUNCH_UPDATE_DATA = 3
export const KVM_SEV_LAUNCH_UPDATE_VMSA = 4
export const KVM_SEV_LAUNCH_SECRET = 5
export const KVM_SEV_LAUNCH_MEASURE = 6
export const KVM_SEV_LAUNCH_FINISH = 7
export const KVM_SEV_SEND_START = 8
export const KVM_SEV_SEND_UPDATE_DATA = 9
export const KVM_SEV_SEND_UPDATE_VMSA = 10
export const KVM_SEV_SEND_FINISH = 11
export const KVM_SEV_RECEIVE_START = 12
export const KVM_SEV_RECEIVE_UPDATE_DATA = 13
export const KVM_SEV_RECEIVE_UPDATE_VMSA = 14
export const KVM_SEV_RECEIVE_FINISH = 15
export const KVM_SEV_GUEST_STATUS = 16
export const KVM_SEV_DBG_DECRYPT = 17
export const KVM_SEV_DBG_ENCRYPT = 18
export const KVM_SEV_CERT_EXPORT = 19
export const KVM_SEV_GET_ATTESTATION_REPORT = 20
export const KVM_SEV_SEND_CANCEL = 21
export const KVM_SEV_INIT2 = 22
export const KVM_SEV_SNP_LAUNCH_START = 100
export const KVM_SEV_SNP_LAUNCH_UPDATE = 101
export const KVM_SEV_SNP_LAUNCH_FINISH = 102
export const KVM_SEV_SNP_ENABLE_REQ_CERTS = 103

/** A command of Intel TDX: KVM_MEMORY_ENCRYPT_OP. `data` is filled in by {@link VmFd.memoryEncryptOp}. */
export const KvmTdxCmd = struct('kvm_tdx_cmd', 24, {
  id: u32(0),
  flags: u32(4),
  data: u64(8),
  /** The TDX module's error. */
  hw_error: u64(16),
})
export type KvmTdxCmd = StructOf<typeof KvmTdxCmd>
export const KVM_TDX_CAPABILITIES = 0
export const KVM_TDX_INIT_VM = 1
export const KVM_TDX_INIT_VCPU = 2
export const KVM_TDX_INIT_MEM_REGION = 3
export const KVM_TDX_FINALIZE_VM = 4
export const KVM_TDX_GET_CPUID = 5
