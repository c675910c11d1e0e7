import type { NativeFd } from '../binding.js'
import { invalidOption } from '../errors.js'
import { KVM_GET_DEVICE_ATTR, KVM_HAS_DEVICE_ATTR } from './abi/ioctls.js'
import { Descriptor } from './descriptor.js'

/** What the KVM descriptors have in common. */
export abstract class Fd<N extends NativeFd> extends Descriptor<N> {
  /**
   * Any ioctl of `native/ioctl_table.h` for this kind of descriptor, by number: for what has no method yet.
   * `argument` is a number or the struct's bytes, as the ioctl wants; the kernel's result is returned.
   * @throws KvmError when the kernel refuses; VmmError `ERR_INVALID_OPTION` for a request that is not listed or carries
   * a pointer, and for too few bytes; `ERR_CLOSED` after `close()`.
   */
  ioctl(request: number, argument?: number | Uint8Array): number {
    return this.native.ioctl(request, argument)
  }

  /**
   * KVM_HAS_DEVICE_ATTR: whether there is such an attribute. Of the system descriptor if KVM_CAP_SYS_ATTRIBUTES, of a VM
   * if KVM_CAP_VM_ATTRIBUTES, of a vCPU if KVM_CAP_VCPU_ATTRIBUTES, of every device.
   */
  hasDeviceAttr(group: number, attribute: number): boolean {
    return this.native.deviceAttr(KVM_HAS_DEVICE_ATTR, group, attribute, 0)
  }

  /**
   * KVM_GET_DEVICE_ATTR of an attribute of `length` bytes, at most 4096: KVM_X86_XCOMP_GUEST_SUPP's are 8,
   * KVM_VCPU_TSC_OFFSET's too.
   */
  getDeviceAttr(group: number, attribute: number, length = 8): Uint8Array {
    const bytes = new Uint8Array(checkInteger(length, 'KVM_GET_DEVICE_ATTR length', 0, 4096))
    this.native.deviceAttr(KVM_GET_DEVICE_ATTR, group, attribute, 0, bytes)
    return bytes
  }

  /** Runs an ioctl that fills in `value`, and returns that. */
  protected get<T extends { readonly bytes: Uint8Array }>(request: number, value: T): T {
    this.native.ioctl(request, value.bytes)
    return value
  }

  protected set(request: number, value: { readonly bytes: Uint8Array }): number {
    return this.native.ioctl(request, value.bytes)
  }
}

/** `value` if it is a bigint of 64 bits without a sign, else ERR_INVALID_OPTION. */
export function checkUint64(value: bigint, option: string): bigint {
  if (typeof value === 'bigint' && value >= 0n && value < 1n << 64n) return value
  throw invalidOption(option, value, 'a bigint from 0 to 2^64 - 1')
}

/** `value` if it is an integer in the range, else ERR_INVALID_OPTION "KVM_CREATE_VCPU id: expected ...". */
export function checkInteger(
  value: number,
  option: string,
  minimum: number,
  maximum: number,
  unit = 1,
): number {
  if (Number.isInteger(value) && value >= minimum && value <= maximum && value % unit === 0) {
    return value
  }
  const multiple = unit === 1 ? 'an integer' : `a multiple of ${unit}`
  throw invalidOption(option, value, `${multiple} from ${minimum} to ${maximum}`)
}
