import { expect } from 'vitest'
import * as K from '../../../lib/kvm.js'
import { runToExit } from '../../helpers/payloads.js'
import { type IoctlCase, irqchip, TSC, unsupported, xen } from './ioctl-case.js'

/** A VM: the rest. */
export const vmCases: IoctlCase[] = [
  {
    ioctl: 'KVM_CREATE_VCPU',
    fd: 'vm',
    run: ({ vm }) => {
      const vcpu = vm.createVcpu(1)
      expect(vcpu.fd).toBeGreaterThan(2)
      vcpu.close()
    },
  },
  {
    ioctl: 'KVM_CREATE_DEVICE',
    fd: 'vm',
    run: ({ vm }) => {
      if (!vm.testDevice(K.KVM_DEV_TYPE_VFIO)) unsupported()
      expect(vm.testDevice(0xffff)).toBe(false)
      vm.createDevice(K.KVM_DEV_TYPE_VFIO).close()
    },
  },
  {
    ioctl: 'KVM_GET_CLOCK',
    fd: 'vm',
    run: ({ vm }) => expect(vm.getClock().clock).toBeGreaterThan(0n),
  },
  {
    ioctl: 'KVM_SET_CLOCK',
    fd: 'vm',
    run: ({ vm }) => {
      const hour = 3_600_000_000_000n
      vm.setClock({ clock: hour })
      expect(vm.getClock().clock).toBeGreaterThanOrEqual(hour)
    },
  },
  {
    ioctl: 'KVM_GET_TSC_KHZ',
    fd: 'vm',
    run: ({ vm }) => expect(vm.getTscKhz()).toBeGreaterThan(100_000),
  },
  {
    ioctl: 'KVM_SET_TSC_KHZ',
    fd: 'vm',
    prepare: (vm) => vm.setTscKhz(vm.getTscKhz()),
    run: () => {},
  },
  {
    ioctl: 'KVM_X86_SET_MSR_FILTER',
    fd: 'vm',
    code: [0x66, 0xb9, 0x10, 0, 0, 0, 0x0f, 0x32, 0xf4], // mov ecx, 0x10; rdmsr; hlt
    run: ({ vm, vcpu }) => {
      vm.enableCap(K.KVM_CAP_X86_USER_SPACE_MSR, [BigInt(K.KVM_MSR_EXIT_REASON_FILTER)])
      const { KVM_MSR_FILTER_READ: flags } = K
      vm.setMsrFilter([{ flags, base: TSC, count: 8, bitmap: Uint8Array.of(0xfe) }])
      expect(runToExit(vcpu)).toMatchObject({ reason: 'rdmsr', index: TSC, cause: 'filter' })
      vcpu.runPage.msrData = 0x1122_3344_5566_7788n
      expect(runToExit(vcpu)).toEqual({ reason: 'hlt' })
      expect(vcpu.getRegs()).toMatchObject({ rax: 0x5566_7788n, rdx: 0x1122_3344n })
    },
  },
  {
    ioctl: 'KVM_SET_PMU_EVENT_FILTER',
    fd: 'vm',
    run: ({ vm }) =>
      vm.setPmuEventFilter({ action: K.KVM_PMU_EVENT_ALLOW, events: [0x3cn, 0xc0n] }),
  },
  {
    ioctl: 'KVM_GET_STATS_FD',
    fd: 'vm',
    run: ({ vm }) => {
      using stats = vm.stats()
      expect(stats.id).toMatch(/^kvm-\d+$/)
      expect(stats.read().map((stat) => stat.name)).toContain('remote_tlb_flush')
    },
  },
  {
    ioctl: 'KVM_HYPERV_EVENTFD',
    fd: 'vm',
    run: ({ vm }) => {
      using event = new K.EventFd()
      vm.hypervEventfd(3, event)
      vm.hypervEventfd(3, null)
    },
  },
  { ioctl: 'KVM_XEN_HVM_CONFIG', fd: 'vm', run: xen },
  {
    ioctl: 'KVM_XEN_HVM_SET_ATTR',
    fd: 'vm',
    prepare: irqchip,
    run: (tiny) => {
      xen(tiny)
      tiny.vm.xenSetAttr({ type: K.KVM_XEN_ATTR_TYPE_LONG_MODE, long_mode: 1 })
      expect(tiny.vm.xenGetAttr(K.KVM_XEN_ATTR_TYPE_LONG_MODE).long_mode).toBe(1)
      if (tiny.kvm.checkExtension(K.KVM_CAP_XEN_HVM) & K.KVM_XEN_HVM_CONFIG_SHARED_INFO_HVA) {
        tiny.vm.xenSetSharedInfo(tiny.memory.regions[0]!.mapping, 0x3000)
      }
    },
  },
  {
    ioctl: 'KVM_XEN_HVM_GET_ATTR',
    fd: 'vm',
    run: (tiny) => {
      xen(tiny)
      expect(tiny.vm.xenGetAttr(K.KVM_XEN_ATTR_TYPE_LONG_MODE).long_mode).toBe(0)
    },
  },
  {
    ioctl: 'KVM_XEN_HVM_EVTCHN_SEND',
    fd: 'vm',
    prepare: irqchip,
    run: (tiny) => {
      xen(tiny)
      const { KVM_XEN_ATTR_TYPE_SHARED_INFO: sharedInfo, KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO: info } =
        K
      tiny.vm.xenSetAttr({ type: K.KVM_XEN_ATTR_TYPE_LONG_MODE, long_mode: 1 })
      tiny.vm.xenSetAttr({ type: sharedInfo, shared_info_gfn: 3n })
      tiny.vcpu.xenSetAttr({ type: info, gpa: 0x4000n })
      const priority = K.KVM_IRQ_ROUTING_XEN_EVTCHN_PRIO_2LEVEL
      tiny.vm.xenEvtchnSend({ port: 5, vcpu: 0, priority })
      // shared_info.evtchn_pending[] begins after 32 vcpu_info of 64 bytes.
      expect(tiny.memory.read(0x3000 + 32 * 64, 1)[0]! & 0x20).toBe(0x20)
    },
  },
  {
    ioctl: 'KVM_MEMORY_ENCRYPT_OP',
    fd: 'vm',
    run: ({ vm }) => void vm.memoryEncryptOp(new Uint8Array(24)),
  },
  {
    ioctl: 'KVM_MEMORY_ENCRYPT_REG_REGION',
    fd: 'vm',
    run: ({ vm, memory }) => vm.memoryEncryptRegRegion(memory.regions[0]!.mapping),
  },
  {
    ioctl: 'KVM_MEMORY_ENCRYPT_UNREG_REGION',
    fd: 'vm',
    run: ({ vm, memory }) => vm.memoryEncryptUnregRegion(memory.regions[0]!.mapping),
  },
  {
    ioctl: 'KVM_HAS_DEVICE_ATTR',
    fd: 'vm',
    run: ({ vm }) => {
      expect(vm.hasDeviceAttr(99, 99)).toBe(false)
      unsupported() // x86-64 has no attribute of a VM
    },
  },
  { ioctl: 'KVM_GET_DEVICE_ATTR', fd: 'vm', run: ({ vm }) => void vm.getDeviceAttr(0, 0) },
  { ioctl: 'KVM_SET_DEVICE_ATTR', fd: 'vm', run: ({ vm }) => vm.setDeviceAttr(0, 0) },
]
