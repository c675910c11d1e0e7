import { expect } from 'vitest'
import * as K from '../../../lib/kvm.js'
import { payload, runToExit } from '../../helpers/payloads.js'
import { type IoctlCase, irqchip, xen } from './ioctl-case.js'

/** A vCPU: the rest. */
export const vcpuCases: IoctlCase[] = [
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
]
