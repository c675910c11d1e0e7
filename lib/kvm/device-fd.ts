import type { NativeDevice } from '../binding.js'
import { KVM_GET_DEVICE_ATTR, KVM_HAS_DEVICE_ATTR, KVM_SET_DEVICE_ATTR } from './abi/ioctls.js'
import { Fd } from './fd.js'

/** A device inside KVM, made by {@link VmFd.createDevice}. */
export class DeviceFd extends Fd<NativeDevice> {
  /** KVM_HAS_DEVICE_ATTR: whether the device knows an attribute of a group. */
  hasDeviceAttr(group: number, attribute: number): boolean {
    return this.native.deviceAttr(KVM_HAS_DEVICE_ATTR, group, attribute, 0)
  }

  /** KVM_SET_DEVICE_ATTR with the bytes that the attribute reads. */
  setDeviceAttr(group: number, attribute: number, bytes?: Uint8Array): void {
    this.native.deviceAttr(KVM_SET_DEVICE_ATTR, group, attribute, 0, bytes)
  }

  /** KVM_GET_DEVICE_ATTR of an attribute of `length` bytes (at most 4096). */
  getDeviceAttr(group: number, attribute: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length)
    this.native.deviceAttr(KVM_GET_DEVICE_ATTR, group, attribute, 0, bytes)
    return bytes
  }
}
