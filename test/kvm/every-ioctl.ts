import { expect } from 'vitest'
import * as K from '../../lib/kvm.js'
import { payload, runToExit, type TinyVm, tinyVm } from '../helpers/payloads.js'

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

const irqchip = (vm: K.VmFd) => vm.createIrqchip()
const pit = (vm: K.VmFd) => {
  vm.createIrqchip()
  vm.createPit2(K.KVM_PIT_SPEAKER_DUMMY)
}
const xen = ({ kvm, vm }: TinyVm) => {
  const offered = kvm.checkExtension(K.KVM_CAP_XEN_HVM)
  const flags = K.KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL | (offered & K.KVM_XEN_HVM_CONFIG_EVTCHN_SEND)
  vm.xenHvmConfig(flags, 0x4000_0200)
}
const EFER = 0xc000_0080
const STAR = 0xc000_0081
const TSC = 0x10

export const cases: IoctlCase[] = [
  // System
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

  // VM: memory
  {
    ioctl: 'KVM_CHECK_EXTENSION',
    fd: 'vm',
    run: ({ vm }) => expect(vm.checkExtension(K.KVM_CAP_USER_MEMORY)).toBe(1),
  },
  {
    ioctl: 'KVM_ENABLE_CAP',
    fd: 'vm',
    run: ({ vm }) => vm.enableCap(K.KVM_CAP_EXIT_ON_EMULATION_FAILURE, [1n]),
  },
  {
    ioctl: 'KVM_SET_USER_MEMORY_REGION',
    fd: 'vm',
    run: ({ vm, memory }) => {
      const { mapping } = memory.regions[0]!
      vm.setUserMemoryRegion({
        slot: 1,
        guestAddress: 0x100000,
        size: 0x1000,
        mapping,
        offset: 0x1000,
      })
      vm.setUserMemoryRegion({ slot: 1, guestAddress: 0, size: 0 })
    },
  },
  {
    ioctl: 'KVM_SET_USER_MEMORY_REGION2',
    fd: 'vm',
    run: ({ vm, memory }) => {
      const { mapping } = memory.regions[0]!
      vm.setUserMemoryRegion2({ slot: 1, guestAddress: 0x100000, size: 0x1000, mapping })
    },
  },
  {
    ioctl: 'KVM_CREATE_GUEST_MEMFD',
    fd: 'vm',
    run: ({ vm }) => {
      const memfd = vm.createGuestMemfd(0x2000)
      expect(memfd.fd).toBeGreaterThan(2)
      memfd.close()
      expect(memfd.fd).toBe(-1)
    },
  },
  {
    ioctl: 'KVM_SET_MEMORY_ATTRIBUTES',
    fd: 'vm',
    run: ({ kvm }) => {
      if (!(kvm.checkExtension(K.KVM_CAP_VM_TYPES) & (1 << K.KVM_X86_SW_PROTECTED_VM))) {
        using vm = kvm.createVm()
        vm.setMemoryAttributes({
          address: 0,
          size: 0x1000,
          attributes: K.KVM_MEMORY_ATTRIBUTE_PRIVATE,
        })
        return
      }
      using vm = kvm.createVm(K.KVM_X86_SW_PROTECTED_VM)
      vm.setMemoryAttributes({
        address: 0,
        size: 0x1000,
        attributes: K.KVM_MEMORY_ATTRIBUTE_PRIVATE,
      })
    },
  },
  {
    ioctl: 'KVM_GET_DIRTY_LOG',
    fd: 'vm',
    code: [0xa2, 0x00, 0x50, 0xf4], // mov [0x5000], al; hlt
    run: ({ vm, vcpu, memory }) => {
      memory.register(vm, 0, K.KVM_MEM_LOG_DIRTY_PAGES)
      runToExit(vcpu)
      const log = vm.getDirtyLog(0)
      expect([log.length, log[0]! & (1 << 5)]).toEqual([8, 1 << 5])
      expect(vm.getDirtyLog(0)[0]! & (1 << 5)).toBe(0)
    },
  },
  {
    ioctl: 'KVM_CLEAR_DIRTY_LOG',
    fd: 'vm',
    code: [0xa2, 0x00, 0x50, 0xf4],
    run: ({ vm, vcpu, memory }) => {
      vm.enableCap(K.KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, [
        BigInt(K.KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE),
      ])
      memory.register(vm, 0, K.KVM_MEM_LOG_DIRTY_PAGES)
      runToExit(vcpu)
      expect(vm.getDirtyLog(0)[0]! & 0x20).toBe(0x20)
      expect(vm.getDirtyLog(0)[0]! & 0x20).toBe(0x20)
      vm.clearDirtyLog(0, 0, 16, Uint8Array.of(0xff, 0xff, 0, 0, 0, 0, 0, 0))
      expect(vm.getDirtyLog(0)[0]! & 0x20).toBe(0)
    },
  },
  {
    ioctl: 'KVM_RESET_DIRTY_RINGS',
    fd: 'vm',
    prepare: (vm) => vm.enableDirtyRing(1024),
    code: [0xa2, 0x00, 0x50, 0xa2, 0x00, 0x60, 0xf4],
    run: ({ vm, vcpu, memory }) => {
      memory.register(vm, 0, K.KVM_MEM_LOG_DIRTY_PAGES)
      runToExit(vcpu)
      const ring = vcpu.dirtyRing()
      const pages: number[] = []
      for (let dirty = ring.take(); dirty; dirty = ring.take()) pages.push(dirty.page)
      expect(pages).toEqual(expect.arrayContaining([5, 6]))
      expect(vm.resetDirtyRings()).toBe(pages.length)
      expect(ring.take()).toBeUndefined()
    },
  },
  { ioctl: 'KVM_SET_NR_MMU_PAGES', fd: 'vm', run: ({ vm }) => vm.setNrMmuPages(200) },
  {
    ioctl: 'KVM_GET_NR_MMU_PAGES',
    fd: 'vm',
    run: ({ vm }) => {
      vm.setNrMmuPages(200)
      expect(vm.getNrMmuPages()).toBe(200)
    },
  },
  { ioctl: 'KVM_SET_TSS_ADDR', fd: 'vm', run: ({ vm }) => vm.setTssAddr(0xfffb_d000) },
  {
    ioctl: 'KVM_SET_IDENTITY_MAP_ADDR',
    fd: 'vm',
    prepare: (vm) => vm.setIdentityMapAddr(0xfffb_c000),
    run: () => {},
  },
  { ioctl: 'KVM_SET_BOOT_CPU_ID', fd: 'vm', prepare: (vm) => vm.setBootCpuId(1), run: () => {} },

  // VM: interrupts
  { ioctl: 'KVM_CREATE_IRQCHIP', fd: 'vm', prepare: irqchip, run: () => {} },
  {
    ioctl: 'KVM_GET_IRQCHIP',
    fd: 'vm',
    prepare: irqchip,
    run: ({ vm }) => {
      const { chip_id, ioapic } = vm.getIrqchip(K.KVM_IRQCHIP_IOAPIC)
      expect([chip_id, ioapic.base_address, ioapic.redirtbl.length]).toEqual([2, 0xfec0_0000n, 24])
    },
  },
  {
    ioctl: 'KVM_SET_IRQCHIP',
    fd: 'vm',
    prepare: irqchip,
    run: ({ vm }) => {
      const state = vm.getIrqchip(K.KVM_IRQCHIP_PIC_MASTER)
      state.pic.imr = 0xa5
      vm.setIrqchip(state)
      expect(vm.getIrqchip(K.KVM_IRQCHIP_PIC_MASTER).pic.imr).toBe(0xa5)
    },
  },
  {
    ioctl: 'KVM_IRQ_LINE',
    fd: 'vm',
    prepare: irqchip,
    run: ({ vm }) => {
      vm.irqLine(5, true)
      expect(vm.getIrqchip(K.KVM_IRQCHIP_PIC_MASTER).pic.irr & 0x20).toBe(0x20)
      vm.irqLine(5, false)
    },
  },
  {
    ioctl: 'KVM_IRQ_LINE_STATUS',
    fd: 'vm',
    prepare: irqchip,
    run: ({ vm }) => expect(vm.irqLineStatus(6, true)).toBeTypeOf('number'),
  },
  {
    ioctl: 'KVM_SET_GSI_ROUTING',
    fd: 'vm',
    prepare: irqchip,
    run: ({ vm }) => {
      const { KVM_IRQ_ROUTING_IRQCHIP: type, KVM_IRQCHIP_PIC_MASTER: chip } = K
      vm.setGsiRouting([{ gsi: 20, type, irqchip: { irqchip: chip, pin: 3 } }])
      vm.irqLine(20, true)
      expect(vm.getIrqchip(chip).pic.irr & 0x08).toBe(0x08)
    },
  },
  {
    ioctl: 'KVM_SIGNAL_MSI',
    fd: 'vm',
    prepare: irqchip,
    run: ({ vm, vcpu }) => {
      // Software-enables the local APIC: its spurious vector register.
      const lapic = vcpu.getLapic()
      new DataView(lapic.buffer).setUint32(0xf0, 0x1ff, true)
      vcpu.setLapic(lapic)
      expect(vm.signalMsi({ address_lo: 0xfee0_0000, data: 0x41 })).toBe(true)
      const irr = new DataView(vcpu.getLapic().buffer).getUint32(0x220, true)
      expect(irr & 2).toBe(2)
    },
  },
  {
    ioctl: 'KVM_IRQFD',
    fd: 'vm',
    prepare: irqchip,
    run: ({ vm }) => {
      using event = new K.EventFd()
      vm.irqfd(event, 4)
      expect(() => vm.irqfd(event, 4)).toThrow(
        expect.objectContaining({ code: 'EBUSY', syscall: 'KVM_IRQFD' }),
      )
      vm.deassignIrqfd(event, 4)
      using resample = new K.EventFd()
      vm.irqfd(event, 4, resample)
      vm.deassignIrqfd(event, 4)
    },
  },
  {
    ioctl: 'KVM_IOEVENTFD',
    fd: 'vm',
    code: payload.outByte(0x42, 7),
    run: ({ vm, vcpu }) => {
      using event = new K.EventFd()
      const options = { space: 'pio', address: 0x42, length: 1, datamatch: 7n } as const
      vm.ioeventfd(event, options)
      expect(runToExit(vcpu)).toEqual({ reason: 'hlt' })
      expect(event.take()).toBe(1)
      vm.deassignIoeventfd(event, options)
      vm.ioeventfd(event, { space: 'mmio', address: 0xd000_0000, length: 0 })
    },
  },
  { ioctl: 'KVM_CREATE_PIT2', fd: 'vm', prepare: pit, run: () => {} },
  {
    ioctl: 'KVM_GET_PIT2',
    fd: 'vm',
    prepare: pit,
    run: ({ vm }) => expect(vm.getPit2().channels[0]!.count).toBe(65536),
  },
  {
    ioctl: 'KVM_SET_PIT2',
    fd: 'vm',
    prepare: pit,
    run: ({ vm }) => {
      const state = vm.getPit2()
      state.flags = K.KVM_PIT_FLAGS_HPET_LEGACY
      vm.setPit2(state)
      expect(vm.getPit2().flags & K.KVM_PIT_FLAGS_HPET_LEGACY).toBe(K.KVM_PIT_FLAGS_HPET_LEGACY)
    },
  },
  {
    ioctl: 'KVM_CREATE_PIT',
    fd: 'vm',
    prepare: (vm) => {
      vm.createIrqchip()
      vm.createPit()
    },
    run: () => {},
  },
  {
    ioctl: 'KVM_GET_PIT',
    fd: 'vm',
    prepare: pit,
    run: ({ vm }) => expect(vm.getPit().channels).toHaveLength(3),
  },
  {
    ioctl: 'KVM_SET_PIT',
    fd: 'vm',
    prepare: pit,
    run: ({ vm }) => {
      const state = vm.getPit()
      state.channels[2]!.mode = 3
      vm.setPit(state)
      expect(vm.getPit().channels[2]!.mode).toBe(3)
    },
  },
  {
    ioctl: 'KVM_REINJECT_CONTROL',
    fd: 'vm',
    prepare: pit,
    run: ({ vm }) => {
      vm.setPitReinject(false)
      vm.setPitReinject(true)
    },
  },
  {
    ioctl: 'KVM_REGISTER_COALESCED_MMIO',
    fd: 'vm',
    code: [0xb0, 0x07, 0xe6, 0x30, 0xb0, 0x08, 0xe6, 0x30, 0xf4],
    run: ({ vm, vcpu }) => {
      vm.registerCoalescedMmio({ addr: 0x30, size: 1, pio: 1 })
      expect(runToExit(vcpu)).toEqual({ reason: 'hlt' })
      const ring = vcpu.coalescedRing()
      expect([ring.take(), ring.take(), ring.take()]).toEqual([
        { space: 'pio', address: 0x30, data: Uint8Array.of(7) },
        { space: 'pio', address: 0x30, data: Uint8Array.of(8) },
        undefined,
      ])
    },
  },
  {
    ioctl: 'KVM_UNREGISTER_COALESCED_MMIO',
    fd: 'vm',
    code: payload.outByte(0x30, 7),
    run: ({ vm, vcpu }) => {
      const zone = { addr: 0x30, size: 1, pio: 1 }
      vm.registerCoalescedMmio(zone)
      vm.unregisterCoalescedMmio(zone)
      expect(runToExit(vcpu)).toMatchObject({ reason: 'io', port: 0x30 })
    },
  },

  // VM: the rest
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

  // vCPU: state
  { ioctl: 'KVM_RUN', fd: 'vcpu', run: ({ vcpu }) => expect(vcpu.run()).toBe(K.KVM_EXIT_HLT) },
  {
    ioctl: 'KVM_GET_REGS',
    fd: 'vcpu',
    run: ({ vcpu }) => expect(vcpu.getRegs()).toMatchObject({ rip: 0x1000n, rflags: 2n }),
  },
  {
    ioctl: 'KVM_SET_REGS',
    fd: 'vcpu',
    run: ({ vcpu }) => {
      vcpu.setRegs({ rax: 1n, r15: 0xffff_ffff_ffff_ffffn, rflags: 2n })
      expect(vcpu.getRegs()).toMatchObject({ rax: 1n, r15: 0xffff_ffff_ffff_ffffn, rip: 0n })
    },
  },
  {
    ioctl: 'KVM_GET_SREGS',
    fd: 'vcpu',
    run: ({ vcpu }) =>
      expect(vcpu.getSregs().cs.toObject()).toMatchObject({ base: 0n, limit: 0xffff, present: 1 }),
  },
  {
    ioctl: 'KVM_SET_SREGS',
    fd: 'vcpu',
    run: ({ vcpu }) => {
      const sregs = vcpu.getSregs()
      sregs.ds.base = 0x1230n
      sregs.cr2 = 0x5555n
      vcpu.setSregs(sregs)
      expect([vcpu.getSregs().ds.base, vcpu.getSregs().cr2]).toEqual([0x1230n, 0x5555n])
    },
  },
  {
    ioctl: 'KVM_GET_SREGS2',
    fd: 'vcpu',
    run: ({ vcpu }) => expect(vcpu.getSregs2().cr0).toBe(vcpu.getSregs().cr0),
  },
  {
    ioctl: 'KVM_SET_SREGS2',
    fd: 'vcpu',
    run: ({ vcpu }) => {
      const sregs = vcpu.getSregs2()
      sregs.es.base = 0x7770n
      vcpu.setSregs2(sregs)
      expect(vcpu.getSregs2().es.base).toBe(0x7770n)
    },
  },
  {
    ioctl: 'KVM_GET_FPU',
    fd: 'vcpu',
    run: ({ vcpu }) => expect(vcpu.getFpu().fpr).toHaveLength(8),
  },
  {
    ioctl: 'KVM_SET_FPU',
    fd: 'vcpu',
    run: ({ vcpu }) => {
      const fpu = vcpu.getFpu()
      fpu.fcw = 0x27f
      fpu.xmm[3]!.fill(0x5a)
      vcpu.setFpu(fpu)
      expect(vcpu.getFpu().fcw).toBe(0x27f)
      expect(vcpu.getFpu().xmm[3]).toEqual(new Uint8Array(16).fill(0x5a))
    },
  },
  {
    ioctl: 'KVM_GET_XSAVE',
    fd: 'vcpu',
    run: ({ vcpu }) => expect(vcpu.getXsave()).toHaveLength(4096),
  },
  {
    ioctl: 'KVM_GET_XSAVE2',
    fd: 'vcpu',
    run: ({ vm, vcpu }) => {
      const size = vm.checkExtension(K.KVM_CAP_XSAVE2)
      if (!size) unsupported()
      expect(vcpu.getXsave2(size)).toHaveLength(size)
    },
  },
  {
    ioctl: 'KVM_SET_XSAVE',
    fd: 'vcpu',
    run: ({ vcpu }) => {
      vcpu.setFpu({ fcw: 0x37f, mxcsr: 0x1f80 })
      const area = vcpu.getXsave()
      new DataView(area.buffer).setUint16(0, 0x27f, true)
      // XSTATE_BV: x87 and SSE are there.
      area[512]! |= 3
      vcpu.setXsave(area)
      expect(vcpu.getFpu().fcw).toBe(0x27f)
    },
  },
  {
    ioctl: 'KVM_GET_XCRS',
    fd: 'vcpu',
    run: ({ vcpu }) => expect(vcpu.getXcrs().nr_xcrs).toBeGreaterThanOrEqual(0),
  },
  { ioctl: 'KVM_SET_XCRS', fd: 'vcpu', run: ({ vcpu }) => vcpu.setXcrs(vcpu.getXcrs()) },
  {
    ioctl: 'KVM_GET_DEBUGREGS',
    fd: 'vcpu',
    run: ({ vcpu }) => expect(vcpu.getDebugregs().dr7).toBe(0x400n),
  },
  {
    ioctl: 'KVM_SET_DEBUGREGS',
    fd: 'vcpu',
    run: ({ vcpu }) => {
      const debugregs = vcpu.getDebugregs()
      debugregs.db = [0x1000n, 0x2000n, 0n, 0x4000n]
      vcpu.setDebugregs(debugregs)
      expect(vcpu.getDebugregs().db).toEqual([0x1000n, 0x2000n, 0n, 0x4000n])
    },
  },
  {
    ioctl: 'KVM_GET_MSRS',
    fd: 'vcpu',
    run: ({ vcpu }) => {
      expect(vcpu.getMsrs([EFER])).toEqual([0n])
      expect(() => vcpu.getMsrs([EFER, 0xdead_beef, TSC])).toThrow(
        expect.objectContaining({
          code: 'ERR_KVM_UNSUPPORTED',
          option: 'entries[1]',
          value: 0xdead_beef,
        }),
      )
    },
  },
  {
    ioctl: 'KVM_SET_MSRS',
    fd: 'vcpu',
    run: ({ kvm, vcpu }) => {
      vcpu.setCpuid2(kvm.getSupportedCpuid())
      const SYSENTER_CS = 0x174
      vcpu.setMsrs([{ index: SYSENTER_CS, data: 0x1234n }])
      expect(vcpu.getMsrs([SYSENTER_CS])).toEqual([0x1234n])
      expect(() =>
        vcpu.setMsrs([
          { index: SYSENTER_CS, data: 1n },
          { index: EFER, data: 0xffff_0000n },
        ]),
      ).toThrow(expect.objectContaining({ code: 'ERR_KVM_UNSUPPORTED', option: 'entries[1]' }))
    },
  },
  {
    ioctl: 'KVM_SET_CPUID2',
    fd: 'vcpu',
    code: [0x66, 0x31, 0xc0, 0x0f, 0xa2, 0xf4], // xor eax, eax; cpuid; hlt
    run: ({ kvm, vcpu }) => {
      const entries = kvm.getSupportedCpuid()
      entries.find((entry) => entry.function === 0)!.ebx = 0x1234_5678
      vcpu.setCpuid2(entries)
      runToExit(vcpu)
      expect(vcpu.getRegs().rbx).toBe(0x1234_5678n)
    },
  },
  {
    ioctl: 'KVM_GET_CPUID2',
    fd: 'vcpu',
    run: ({ kvm, vcpu }) => {
      const entries = kvm.getSupportedCpuid()
      vcpu.setCpuid2(entries)
      expect(vcpu.getCpuid2().map((entry) => entry.function)).toEqual(
        entries.map((entry) => entry.function),
      )
    },
  },
  {
    ioctl: 'KVM_SET_CPUID',
    fd: 'vcpu',
    run: ({ vcpu }) => {
      vcpu.setCpuid([{ function: 0, eax: 1, ebx: 2, ecx: 3, edx: 4 }])
      expect(vcpu.getCpuid2()).toMatchObject([{ function: 0, eax: 1, ebx: 2, ecx: 3, edx: 4 }])
    },
  },
  {
    ioctl: 'KVM_GET_LAPIC',
    fd: 'vcpu',
    prepare: irqchip,
    run: ({ vcpu }) =>
      expect(new DataView(vcpu.getLapic().buffer).getUint32(0x30, true) & 0xff).toBeGreaterThan(
        0x0f,
      ),
  },
  {
    ioctl: 'KVM_SET_LAPIC',
    fd: 'vcpu',
    prepare: irqchip,
    run: ({ vcpu }) => {
      const lapic = vcpu.getLapic()
      new DataView(lapic.buffer).setUint32(0xf0, 0x1aa, true)
      vcpu.setLapic(lapic)
      expect(new DataView(vcpu.getLapic().buffer).getUint32(0xf0, true)).toBe(0x1aa)
    },
  },
  {
    ioctl: 'KVM_GET_MP_STATE',
    fd: 'vcpu',
    prepare: irqchip,
    run: ({ vm, vcpu }) => {
      expect(vcpu.getMpState()).toBe(K.KVM_MP_STATE_RUNNABLE)
      using second = vm.createVcpu(1)
      expect(second.getMpState()).toBe(K.KVM_MP_STATE_UNINITIALIZED)
    },
  },
  {
    ioctl: 'KVM_SET_MP_STATE',
    fd: 'vcpu',
    prepare: irqchip,
    run: ({ vcpu }) => {
      vcpu.setMpState(K.KVM_MP_STATE_HALTED)
      expect(vcpu.getMpState()).toBe(K.KVM_MP_STATE_HALTED)
    },
  },
  {
    ioctl: 'KVM_GET_VCPU_EVENTS',
    fd: 'vcpu',
    run: ({ vcpu }) =>
      expect(vcpu.getVcpuEvents().nmi.toObject()).toEqual({ injected: 0, pending: 0, masked: 0 }),
  },
  {
    ioctl: 'KVM_SET_VCPU_EVENTS',
    fd: 'vcpu',
    run: ({ vcpu }) => {
      const events = vcpu.getVcpuEvents()
      events.interrupt.shadow = K.KVM_X86_SHADOW_INT_STI
      events.flags = K.KVM_VCPUEVENT_VALID_SHADOW
      vcpu.setVcpuEvents(events)
      // AMD's processors know one shadow for both causes.
      const { shadow } = vcpu.getVcpuEvents().interrupt
      expect(shadow & K.KVM_X86_SHADOW_INT_STI).toBe(K.KVM_X86_SHADOW_INT_STI)
    },
  },
  {
    ioctl: 'KVM_GET_NESTED_STATE',
    fd: 'vcpu',
    run: ({ kvm, vcpu }) => {
      if (kvm.checkExtension(K.KVM_CAP_NESTED_STATE)) vcpu.setCpuid2(kvm.getSupportedCpuid())
      const state = new K.KvmNestedState(vcpu.getNestedState())
      expect(state.size).toBeGreaterThanOrEqual(128)
    },
  },
  {
    ioctl: 'KVM_SET_NESTED_STATE',
    fd: 'vcpu',
    run: ({ kvm, vcpu }) => {
      if (kvm.checkExtension(K.KVM_CAP_NESTED_STATE)) vcpu.setCpuid2(kvm.getSupportedCpuid())
      vcpu.setNestedState(vcpu.getNestedState())
    },
  },
  {
    ioctl: 'KVM_GET_REG_LIST',
    fd: 'vcpu',
    run: ({ vcpu }) => expect(vcpu.getRegList()).toBeInstanceOf(Array),
  },
  {
    ioctl: 'KVM_GET_ONE_REG',
    fd: 'vcpu',
    run: ({ vcpu }) => expect(vcpu.getOneReg(msrRegister(0x174))).toHaveLength(8),
  },
  {
    ioctl: 'KVM_SET_ONE_REG',
    fd: 'vcpu',
    run: ({ kvm, vcpu }) => {
      vcpu.setCpuid2(kvm.getSupportedCpuid())
      vcpu.setOneReg(msrRegister(0x174), Uint8Array.of(7, 0, 0, 0, 0, 0, 0, 0))
      expect(vcpu.getMsrs([0x174])).toEqual([7n])
    },
  },
  {
    ioctl: 'KVM_GET_TSC_KHZ',
    fd: 'vcpu',
    run: ({ vcpu }) => expect(vcpu.getTscKhz()).toBeGreaterThan(100_000),
  },
  { ioctl: 'KVM_SET_TSC_KHZ', fd: 'vcpu', run: ({ vcpu }) => vcpu.setTscKhz(vcpu.getTscKhz()) },
  {
    ioctl: 'KVM_HAS_DEVICE_ATTR',
    fd: 'vcpu',
    run: ({ vcpu }) => {
      if (!vcpu.hasDeviceAttr(K.KVM_VCPU_TSC_CTRL, K.KVM_VCPU_TSC_OFFSET)) unsupported()
      expect(vcpu.hasDeviceAttr(99, 99)).toBe(false)
    },
  },
  {
    ioctl: 'KVM_GET_DEVICE_ATTR',
    fd: 'vcpu',
    run: ({ vcpu }) =>
      expect(vcpu.getDeviceAttr(K.KVM_VCPU_TSC_CTRL, K.KVM_VCPU_TSC_OFFSET)).toHaveLength(8),
  },
  {
    ioctl: 'KVM_SET_DEVICE_ATTR',
    fd: 'vcpu',
    run: ({ vcpu }) => {
      const offset = Uint8Array.of(1, 2, 3, 4, 0, 0, 0, 0)
      vcpu.setDeviceAttr(K.KVM_VCPU_TSC_CTRL, K.KVM_VCPU_TSC_OFFSET, offset)
      // A software KVM takes it and keeps 0: its guests read the host's TSC.
      const kept = vcpu.getDeviceAttr(K.KVM_VCPU_TSC_CTRL, K.KVM_VCPU_TSC_OFFSET)
      expect([offset, new Uint8Array(8)]).toContainEqual(kept)
    },
  },

  // vCPU: the rest
  {
    ioctl: 'KVM_INTERRUPT',
    fd: 'vcpu',
    // sti; jmp $ with the handler of vector 0x20 at 0x2000, where a hlt is
    code: [0xfb, 0xeb, 0xfe],
    run: ({ vcpu, memory }) => {
      memory.write(0x20 * 4, Uint8Array.of(0x00, 0x20, 0x00, 0x00))
      memory.write(0x2000, Uint8Array.of(0xf4))
      vcpu.interrupt(0x20)
      vcpu.setRegs({ rip: 0x1001n, rflags: 0x202n, rsp: 0xff0n })
      expect(runToExit(vcpu)).toEqual({ reason: 'hlt' })
      expect(vcpu.getRegs().rip).toBe(0x2001n)
    },
  },
  {
    ioctl: 'KVM_NMI',
    fd: 'vcpu',
    code: payload.spin,
    run: ({ vcpu, memory }) => {
      memory.write(2 * 4, Uint8Array.of(0x00, 0x20, 0x00, 0x00))
      memory.write(0x2000, Uint8Array.of(0xf4))
      vcpu.nmi()
      expect(runToExit(vcpu)).toEqual({ reason: 'hlt' })
      expect(vcpu.getRegs().rip).toBe(0x2001n)
    },
  },
  { ioctl: 'KVM_SMI', fd: 'vcpu', run: ({ vcpu }) => vcpu.smi() },
  {
    ioctl: 'KVM_TRANSLATE',
    fd: 'vcpu',
    run: ({ vcpu }) =>
      expect(vcpu.translate(0x1234n)).toMatchObject({ physical_address: 0x1234n, valid: 1 }),
  },
  {
    ioctl: 'KVM_SET_GUEST_DEBUG',
    fd: 'vcpu',
    code: [0x90, 0x90, 0xf4],
    run: ({ vcpu }) => {
      vcpu.setGuestDebug({ control: K.KVM_GUESTDBG_ENABLE | K.KVM_GUESTDBG_SINGLESTEP })
      expect(runToExit(vcpu)).toMatchObject({ reason: 'debug', exception: 1, pc: 0x1001n })
      expect(runToExit(vcpu)).toMatchObject({ reason: 'debug', exception: 1, pc: 0x1002n })
      vcpu.setGuestDebug({ control: 0 })
      expect(runToExit(vcpu)).toEqual({ reason: 'hlt' })
    },
  },
  {
    ioctl: 'KVM_SET_SIGNAL_MASK',
    fd: 'vcpu',
    code: payload.spin,
    run: ({ vcpu }) => {
      vcpu.setSignalMask(0xffff_ffff_ffff_ffffn)
      // It still comes back: the kick signal is never masked.
      expect(vcpu.run()).toBe(K.KVM_EXIT_INTR)
      vcpu.setSignalMask(null)
      expect(vcpu.run()).toBe(K.KVM_EXIT_INTR)
    },
  },
  {
    ioctl: 'KVM_TPR_ACCESS_REPORTING',
    fd: 'vcpu',
    prepare: irqchip,
    run: ({ vcpu }) => {
      vcpu.setTprAccessReporting(true)
      vcpu.setTprAccessReporting(false)
    },
  },
  {
    ioctl: 'KVM_SET_VAPIC_ADDR',
    fd: 'vcpu',
    prepare: irqchip,
    run: ({ vcpu }) => vcpu.setVapicAddr(0x3000),
  },
  { ioctl: 'KVM_X86_SETUP_MCE', fd: 'vcpu', run: ({ vcpu }) => vcpu.setupMce(10n) },
  {
    ioctl: 'KVM_X86_SET_MCE',
    fd: 'vcpu',
    run: ({ vcpu }) => {
      vcpu.setupMce(10n)
      const VALID = 1n << 63n
      vcpu.setMce({ bank: 1, status: VALID | 0x8000n, addr: 0x1000n })
      expect(vcpu.getMsrs([0x405])[0]! & VALID).toBe(VALID)
    },
  },
  {
    ioctl: 'KVM_KVMCLOCK_CTRL',
    fd: 'vcpu',
    run: ({ kvm, vcpu }) => {
      vcpu.setCpuid2(kvm.getSupportedCpuid())
      const KVM_SYSTEM_TIME_NEW = 0x4b56_4d01
      vcpu.setMsrs([{ index: KVM_SYSTEM_TIME_NEW, data: 0x3001n }])
      vcpu.kvmclockCtrl()
    },
  },
  {
    ioctl: 'KVM_ENABLE_CAP',
    fd: 'vcpu',
    prepare: irqchip,
    run: ({ vcpu }) => vcpu.enableCap(K.KVM_CAP_ENFORCE_PV_FEATURE_CPUID, [1n]),
  },
  {
    ioctl: 'KVM_GET_SUPPORTED_HV_CPUID',
    fd: 'vcpu',
    prepare: irqchip,
    run: ({ vcpu }) => expect(vcpu.getSupportedHvCpuid().length).toBeGreaterThan(0),
  },
  {
    ioctl: 'KVM_PRE_FAULT_MEMORY',
    fd: 'vcpu',
    run: ({ vcpu }) => expect(vcpu.preFaultMemory({ gpa: 0, size: 0x4000 }).size).toBe(0),
  },
  {
    ioctl: 'KVM_GET_STATS_FD',
    fd: 'vcpu',
    code: payload.outLoop,
    run: ({ vcpu }) => {
      for (let i = 0; i < 10; i++) runToExit(vcpu)
      using stats = vcpu.stats()
      expect(stats.id).toMatch(/^kvm-\d+\/vcpu-0$/)
      const exits = stats.read().find((stat) => stat.name === 'exits')
      expect(exits).toMatchObject({ type: 'cumulative', unit: 'none' })
      expect(exits!.values[0]).toBeGreaterThanOrEqual(10n)
    },
  },
  {
    ioctl: 'KVM_XEN_VCPU_SET_ATTR',
    fd: 'vcpu',
    run: (tiny) => {
      xen(tiny)
      tiny.vcpu.xenSetAttr({ type: K.KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO, gpa: 0x3000n })
      expect(tiny.vcpu.xenGetAttr(K.KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO).gpa).toBe(0x3000n)
      if (tiny.kvm.checkExtension(K.KVM_CAP_XEN_HVM) & K.KVM_XEN_HVM_CONFIG_SHARED_INFO_HVA) {
        tiny.vcpu.xenSetVcpuInfo(tiny.memory.regions[0]!.mapping, 0x4000)
      }
    },
  },
  {
    ioctl: 'KVM_XEN_VCPU_GET_ATTR',
    fd: 'vcpu',
    run: (tiny) => {
      xen(tiny)
      expect(tiny.vcpu.xenGetAttr(K.KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO).gpa).toBe(
        K.KVM_XEN_INVALID_GPA,
      )
    },
  },
  {
    ioctl: 'KVM_MEMORY_ENCRYPT_OP',
    fd: 'vcpu',
    run: ({ vcpu }) => void vcpu.memoryEncryptOp(new Uint8Array(24)),
  },

  // Device
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

/** A register's id for KVM_*_ONE_REG. */
function msrRegister(index: number): bigint {
  return (
    K.KVM_REG_X86 | K.KVM_REG_SIZE_U64 | (BigInt(K.KVM_X86_REG_TYPE_MSR) << 32n) | BigInt(index)
  )
}

/** This KVM says itself that it has no such thing. */
export class Unsupported extends Error {}
function unsupported(): never {
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
