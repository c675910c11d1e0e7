import { binding, type NativeKvm } from '../binding.js'
import { KvmError, VmmError } from '../errors.js'
import * as capabilityNumbers from './abi/capabilities.js'
import type { CpuidEntry } from './abi/cpuid.js'
import * as request from './abi/ioctls.js'
import { KVM_MAX_IO_MSRS } from './abi/msrs.js'
import { KVM_API_VERSION, KVM_X86_DEFAULT_VM } from './abi/vm.js'
import { Fd } from './fd.js'
import {
  bytesOf,
  checkMsrsDone,
  decodeCpuid,
  decodeIndices,
  decodeMsrs,
  encodeMsrs,
  readList,
} from './lists.js'
import { VmFd } from './vm-fd.js'

/** `/dev/kvm`, the system descriptor (KVM API section 2). */
export class Kvm extends Fd<NativeKvm> {
  /**
   * Opens `/dev/kvm` and checks its API version.
   * @throws VmmError `ERR_KVM_ABSENT` if it is not there, `ERR_KVM_FORBIDDEN` if this user may not open it,
   * `ERR_KVM_UNSUPPORTED` if it is something else or of another version, `ERR_PLATFORM` on another OS or CPU.
   */
  static open(path = '/dev/kvm'): Kvm {
    const kvm = new Kvm(openNative(path))
    try {
      const version = kvm.getApiVersion()
      if (version === KVM_API_VERSION) return kvm
      throw new VmmError(
        'ERR_KVM_UNSUPPORTED',
        `${path} has KVM API version ${version}, not ${KVM_API_VERSION}`,
      )
    } catch (error) {
      kvm.close()
      if (error instanceof KvmError) {
        throw new VmmError('ERR_KVM_UNSUPPORTED', `${path} is not the KVM device`, {
          option: 'path',
          value: path,
          cause: error,
        })
      }
      throw error
    }
  }

  /** KVM_GET_API_VERSION: 12. */
  getApiVersion(): number {
    return this.native.ioctl(request.KVM_GET_API_VERSION)
  }

  /** KVM_CREATE_VM. `type` is one of the `KVM_X86_*_VM` that KVM_CAP_VM_TYPES lists. */
  createVm(type = KVM_X86_DEFAULT_VM): VmFd {
    return new VmFd(this.native.createVm(type))
  }

  /** KVM_CHECK_EXTENSION: 0 if this host lacks the capability, else 1 or what the capability defines. */
  checkExtension(capability: number): number {
    return this.native.ioctl(request.KVM_CHECK_EXTENSION, capability)
  }

  /** The capabilities that this host has, by the kernel's names, with their values. */
  capabilities(): Map<string, number> {
    const found = new Map<string, number>()
    for (const [name, number] of Object.entries(capabilityNumbers)) {
      const value = this.checkExtension(number)
      if (value !== 0) found.set(name, value)
    }
    return found
  }

  /** KVM_GET_VCPU_MMAP_SIZE: bytes of a vCPU's run page and of what follows it. */
  getVcpuMmapSize(): number {
    return this.native.ioctl(request.KVM_GET_VCPU_MMAP_SIZE)
  }

  /** KVM_GET_SUPPORTED_CPUID: what the host and KVM can give to a guest. */
  getSupportedCpuid(): CpuidEntry[] {
    return this.#cpuid(request.KVM_GET_SUPPORTED_CPUID)
  }

  /** KVM_GET_EMULATED_CPUID: features that KVM emulates, slowly, where the host lacks them. */
  getEmulatedCpuid(): CpuidEntry[] {
    return this.#cpuid(request.KVM_GET_EMULATED_CPUID)
  }

  /** KVM_GET_SUPPORTED_HV_CPUID, the system form (KVM_CAP_SYS_HYPERV_CPUID): Hyper-V's leaves. */
  getSupportedHvCpuid(): CpuidEntry[] {
    return this.#cpuid(request.KVM_GET_SUPPORTED_HV_CPUID)
  }

  /** KVM_GET_MSR_INDEX_LIST: the MSRs that make up a vCPU's state. */
  getMsrIndexList(): number[] {
    return this.#indices(request.KVM_GET_MSR_INDEX_LIST)
  }

  /** KVM_GET_MSR_FEATURE_INDEX_LIST: the MSRs that tell features of the host, to be read by {@link getMsrs}. */
  getMsrFeatureIndexList(): number[] {
    return this.#indices(request.KVM_GET_MSR_FEATURE_INDEX_LIST)
  }

  /**
   * KVM_GET_MSRS on the system descriptor: the host's values of feature MSRs, in the order asked for.
   * @throws VmmError `ERR_KVM_UNSUPPORTED` naming the first index that is no feature MSR.
   */
  getMsrs(indices: readonly number[]): bigint[] {
    const entries = indices.map((index) => ({ index }))
    const view = encodeMsrs(entries, 'KVM_GET_MSRS', KVM_MAX_IO_MSRS)
    checkMsrsDone('KVM_GET_MSRS', this.native.ioctl(request.KVM_GET_MSRS, bytesOf(view)), indices)
    return decodeMsrs(view)
  }

  /** KVM_X86_GET_MCE_CAP_SUPPORTED: MCG_CAP bits that {@link VcpuFd.setupMce} takes. */
  getMceCapSupported(): bigint {
    const view = new DataView(new ArrayBuffer(8))
    this.native.ioctl(request.KVM_X86_GET_MCE_CAP_SUPPORTED, bytesOf(view))
    return view.getBigUint64(0, true)
  }

  #cpuid(number: number): CpuidEntry[] {
    return decodeCpuid(readList(8, 40, 128, (bytes) => this.native.ioctl(number, bytes)))
  }

  #indices(number: number): number[] {
    return decodeIndices(readList(4, 4, 256, (bytes) => this.native.ioctl(number, bytes)))
  }
}

function openNative(path: string): NativeKvm {
  try {
    return new (binding().Kvm)(path)
  } catch (error) {
    const code = error instanceof KvmError ? error.code : undefined
    const details = { option: 'path', value: path, cause: error }
    if (code === 'ENOENT' || code === 'ENODEV' || code === 'ENXIO') {
      throw new VmmError(
        'ERR_KVM_ABSENT',
        `${path} is not there: the kvm module is not loaded, or this machine cannot virtualize`,
        details,
      )
    }
    if (code === 'EACCES' || code === 'EPERM') {
      throw new VmmError(
        'ERR_KVM_FORBIDDEN',
        `${path} may not be opened by this user: join the kvm group`,
        details,
      )
    }
    throw error
  }
}
