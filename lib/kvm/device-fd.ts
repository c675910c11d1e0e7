import type { NativeDevice } from '../binding.js'
import { KVM_SET_DEVICE_ATTR } from './abi/ioctls.js'
import { Fd } from './fd.js'

/** A device inside KVM, made by {@link VmFd.createDevice}. */
export class DeviceFd extends Fd<NativeDevice> {
  /** KVM_SET_DEVICE_ATTR with the bytes that the attribute reads. */
  setDeviceAttr(group: number, attribute: number, bytes?: Uint8Array): void {
    this.native.deviceAttr(KVM_SET_DEVICE_ATTR, group, attribute, 0, bytes)
  }
}
