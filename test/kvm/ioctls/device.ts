import { expect } from 'vitest'
import * as K from '../../../lib/kvm.js'
import type { IoctlCase } from './ioctl-case.js'

/** A device. */
export const deviceCases: IoctlCase[] = [
  {
    ioctl: 'KVM_HAS_DEVICE_ATTR',
    fd: 'device',
    run: ({ vm }) => {
      using device = vm.createDevice(K.KVM_DEV_TYPE_VFIO)
      expect(device.hasDeviceAttr(K.KVM_DEV_VFIO_FILE, K.KVM_DEV_VFIO_FILE_ADD)).toBe(true)
      expect(device.hasDeviceAttr(99, 99)).toBe(false)
    },
  },
  {
    ioctl: 'KVM_SET_DEVICE_ATTR',
    fd: 'device',
    run: ({ vm }) => {
      using device = vm.createDevice(K.KVM_DEV_TYPE_VFIO)
      // There is no VFIO group to add: the device says that this descriptor is none.
      const add = () =>
        device.setDeviceAttr(
          K.KVM_DEV_VFIO_FILE,
          K.KVM_DEV_VFIO_FILE_ADD,
          Uint8Array.of(0, 0, 0, 0),
        )
      expect(add).toThrow(
        expect.objectContaining({ name: 'KvmError', syscall: 'KVM_SET_DEVICE_ATTR' }),
      )
    },
  },
  {
    ioctl: 'KVM_GET_DEVICE_ATTR',
    fd: 'device',
    run: ({ vm }) => {
      using device = vm.createDevice(K.KVM_DEV_TYPE_VFIO)
      device.getDeviceAttr(0, 0, 8)
    },
  },
]
