import * as K from '../../../lib/kvm.js'
import { payload, type TinyVm, tinyVm } from '../../helpers/payloads.js'

/** One ioctl on one kind of descriptor, used for real: what it does is checked where anything can be seen of it. */
export interface IoctlCase {
  ioctl: string
  fd: 'system' | 'vm' | 'vcpu' | 'device'
  run(tiny: TinyVm): void
  /** How the VM is to be prepared before its vCPU is made. */
  prepare?: (vm: K.VmFd) => void
  /** What the guest runs: `hlt` unless told. */
  code?: readonly number[]
}

export const irqchip = (vm: K.VmFd) => vm.createIrqchip()
export const pit = (vm: K.VmFd) => {
  vm.createIrqchip()
  vm.createPit2(K.KVM_PIT_SPEAKER_DUMMY)
}
export const xen = ({ kvm, vm }: TinyVm) => {
  const offered = kvm.checkExtension(K.KVM_CAP_XEN_HVM)
  const flags = K.KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL | (offered & K.KVM_XEN_HVM_CONFIG_EVTCHN_SEND)
  vm.xenHvmConfig(flags, 0x4000_0200)
}
export const EFER = 0xc000_0080
export const STAR = 0xc000_0081
export const TSC = 0x10

/** A register's id for KVM_*_ONE_REG. */
export function msrRegister(index: number): bigint {
  return (
    K.KVM_REG_X86 | K.KVM_REG_SIZE_U64 | (BigInt(K.KVM_X86_REG_TYPE_MSR) << 32n) | BigInt(index)
  )
}

/** This KVM says itself that it has no such thing. */
class Unsupported extends Error {}
export function unsupported(): never {
  throw new Unsupported()
}

/** Runs one case. The reason if this KVM does not offer the ioctl, undefined if it did what it should. */
export function tryCase({ run, prepare, code = payload.hlt }: IoctlCase): string | undefined {
  try {
    using tiny = tinyVm(code, prepare ? { prepare } : {})
    run(tiny)
    return undefined
  } catch (error) {
    if (error instanceof Unsupported) return 'unsupported'
    if (error instanceof K.KvmError) return error.code
    throw error
  }
}
