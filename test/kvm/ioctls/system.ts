import { expect } from 'vitest'
import * as K from '../../../lib/kvm.js'
import { type IoctlCase, STAR, unsupported } from './ioctl-case.js'

/** The system descriptor. */
export const systemCases: IoctlCase[] = [
  {
    ioctl: 'KVM_GET_API_VERSION',
    fd: 'system',
    run: ({ kvm }) => expect(kvm.getApiVersion()).toBe(12),
  },
  { ioctl: 'KVM_CREATE_VM', fd: 'system', run: ({ kvm }) => kvm.createVm().close() },
  {
    ioctl: 'KVM_CHECK_EXTENSION',
    fd: 'system',
    run: ({ kvm }) => {
      expect(kvm.checkExtension(K.KVM_CAP_USER_MEMORY)).toBe(1)
      expect(kvm.checkExtension(0xffff)).toBe(0)
      expect(kvm.capabilities().get('KVM_CAP_NR_MEMSLOTS')).toBeGreaterThan(8)
    },
  },
  {
    ioctl: 'KVM_GET_VCPU_MMAP_SIZE',
    fd: 'system',
    run: ({ kvm, vcpu }) => expect(kvm.getVcpuMmapSize()).toBe(vcpu.runPage.bytes.byteLength),
  },
  {
    ioctl: 'KVM_GET_SUPPORTED_CPUID',
    fd: 'system',
    run: ({ kvm }) => {
      const vendor = kvm.getSupportedCpuid().find((entry) => entry.function === 0)
      expect(vendor?.ebx).not.toBe(0)
    },
  },
  {
    ioctl: 'KVM_GET_EMULATED_CPUID',
    fd: 'system',
    run: ({ kvm }) => expect(kvm.getEmulatedCpuid().length).toBeGreaterThan(0),
  },
  {
    ioctl: 'KVM_GET_SUPPORTED_HV_CPUID',
    fd: 'system',
    run: ({ kvm }) =>
      expect(kvm.getSupportedHvCpuid().some((entry) => entry.function === 0x4000_0000)).toBe(true),
  },
  {
    ioctl: 'KVM_GET_MSR_INDEX_LIST',
    fd: 'system',
    run: ({ kvm }) => expect(kvm.getMsrIndexList()).toContain(STAR),
  },
  {
    ioctl: 'KVM_GET_MSR_FEATURE_INDEX_LIST',
    fd: 'system',
    run: ({ kvm }) => expect(kvm.getMsrFeatureIndexList().length).toBeGreaterThan(0),
  },
  {
    ioctl: 'KVM_GET_MSRS',
    fd: 'system',
    run: ({ kvm }) => {
      const indices = kvm.getMsrFeatureIndexList()
      expect(kvm.getMsrs(indices)).toHaveLength(indices.length)
      expect(() => kvm.getMsrs([...indices.slice(0, 2), 0xdead_beef])).toThrow(
        expect.objectContaining({ code: 'ERR_KVM_UNSUPPORTED', value: 0xdead_beef }),
      )
    },
  },
  {
    ioctl: 'KVM_X86_GET_MCE_CAP_SUPPORTED',
    fd: 'system',
    run: ({ kvm }) => expect(kvm.getMceCapSupported()).toBeGreaterThan(0n),
  },
  {
    ioctl: 'KVM_HAS_DEVICE_ATTR',
    fd: 'system',
    run: ({ kvm }) => {
      if (!kvm.hasDeviceAttr(K.KVM_X86_GRP_SYSTEM, K.KVM_X86_XCOMP_GUEST_SUPP)) unsupported()
      expect(kvm.hasDeviceAttr(99, 99)).toBe(false)
    },
  },
  {
    ioctl: 'KVM_GET_DEVICE_ATTR',
    fd: 'system',
    run: ({ kvm }) => {
      const bytes = kvm.getDeviceAttr(K.KVM_X86_GRP_SYSTEM, K.KVM_X86_XCOMP_GUEST_SUPP)
      // x87 is part of every XCR0.
      expect(bytes[0]! & 1).toBe(1)
    },
  },
]
