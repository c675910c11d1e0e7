import { expect } from 'vitest'
import * as K from '../../../lib/kvm.js'
import { runToExit, runToReason } from '../../helpers/payloads.js'
import { EFER, type IoctlCase, irqchip, msrRegister, TSC, unsupported } from './ioctl-case.js'

/** A vCPU: its state. */
export const vcpuStateCases: IoctlCase[] = [
  {
    ioctl: 'KVM_RUN',
    fd: 'vcpu',
    run: ({ vcpu }) => expect(runToReason(vcpu)).toBe(K.KVM_EXIT_HLT),
  },
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
]
