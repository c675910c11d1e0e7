import { expect } from 'vitest'
import * as K from '../../../lib/kvm.js'
import { payload, runToExit } from '../../helpers/payloads.js'
import { type IoctlCase, irqchip, pit } from './ioctl-case.js'

/** A VM: its interrupts. */
export const vmInterruptCases: IoctlCase[] = [
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
]
