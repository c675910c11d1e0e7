import { describe, expect, it } from 'vitest'
import * as K from '../../lib/kvm.js'
import { payload, runToExit, tinyVm } from '../helpers/payloads.js'

describe('interrupts without this process', () => {
  const irqchip = { prepare: (vm: K.VmFd) => vm.createIrqchip() }
  /** sti; l: hlt; jmp l */
  const waitForIrq = [0xfb, 0xf4, 0xeb, 0xfd]

  /** Sets the 8259As up as a BIOS does, with `handler` for IRQ 5. */
  function handleIrq5({ vm, vcpu, memory }: ReturnType<typeof tinyVm>, handler: number[]) {
    for (const [chip, base] of [
      [K.KVM_IRQCHIP_PIC_MASTER, 0x20],
      [K.KVM_IRQCHIP_PIC_SLAVE, 0x28],
    ] as const) {
      const state = vm.getIrqchip(chip)
      state.pic.assign({ irq_base: base, imr: 0, init_state: 0 })
      vm.setIrqchip(state)
    }
    const lapic = new DataView(vcpu.getLapic().buffer)
    lapic.setUint32(0xf0, 0x1ff, true)
    lapic.setUint32(0x350, 0x700, true) // LINT0: ExtINT, as the 8259A is wired
    vcpu.setLapic(new Uint8Array(lapic.buffer))
    memory.write(0x25 * 4, Uint8Array.of(0x00, 0x20, 0x00, 0x00))
    memory.write(0x2000, Uint8Array.from(handler))
  }

  const inByte = [0xe4, 0x77] // in al, 0x77
  const endOfInterrupt = [0xb0, 0x20, 0xe6, 0x20, 0xcf] // mov al, 0x20; out 0x20, al; iret

  it('irqfd wakes a halted guest', () => {
    using tiny = tinyVm(waitForIrq, irqchip)
    using event = new K.EventFd()
    handleIrq5(tiny, inByte)
    tiny.vm.irqfd(event, 5)
    expect(tiny.vcpu.run()).toBe(K.KVM_EXIT_INTR)
    event.signal()
    expect(runToExit(tiny.vcpu)).toMatchObject({ reason: 'io', direction: 'in', port: 0x77 })
  })

  it('irqfd raises its resample eventfd at the end of the interrupt, and may be raised again', () => {
    using tiny = tinyVm(waitForIrq, irqchip)
    using event = new K.EventFd()
    using resample = new K.EventFd()
    handleIrq5(tiny, [...inByte, ...endOfInterrupt])
    tiny.vm.irqfd(event, 5, resample)
    expect(tiny.vcpu.run()).toBe(K.KVM_EXIT_INTR)
    for (let i = 0; i < 2; i++) {
      event.signal()
      expect(runToExit(tiny.vcpu)).toMatchObject({ reason: 'io', direction: 'in', port: 0x77 })
      expect(resample.take()).toBe(0)
      let ends = 0
      for (let runs = 0; runs < 50 && ends === 0; runs++) {
        expect(tiny.vcpu.run()).toBe(K.KVM_EXIT_INTR)
        ends = resample.take()
      }
      expect(ends).toBe(1)
    }
  })

  it('irqLine does too', () => {
    using tiny = tinyVm(waitForIrq, irqchip)
    handleIrq5(tiny, inByte)
    expect(tiny.vcpu.run()).toBe(K.KVM_EXIT_INTR)
    tiny.vm.irqLine(5, true)
    expect(runToExit(tiny.vcpu)).toMatchObject({ reason: 'io', port: 0x77 })
  })
})

describe('ioeventfd', () => {
  it('raises the callback of a watch, with how often', async () => {
    using tiny = tinyVm([...[0xb0, 1, 0xe6, 0x50], ...[0xe6, 0x50], 0xf4])
    using event = new K.EventFd()
    tiny.vm.ioeventfd(event, { space: 'pio', address: 0x50, length: 1 })
    const seen = new Promise<number>((resolve) => event.watch(resolve))
    expect(runToExit(tiny.vcpu)).toEqual({ reason: 'hlt' })
    event.ref()
    expect(await seen).toBe(2)
    event.unref()
  })

  // The guest writes 0x1234 to 0x20000 and then reads from 0x20002.
  const written = { reason: 'mmio', direction: 'write', address: 0x2_0000n }
  const read = { reason: 'mmio', direction: 'read', address: 0x2_0002n }
  it.each([
    ['of its length', { length: 2 }, read, 1],
    ['of its length and value', { length: 2, datamatch: 0x1234n }, read, 1],
    ['of any length', { length: 0 }, read, 1],
    ['but none of another value', { length: 2, datamatch: 0x1235n }, written, 0],
    ['but none of another length', { length: 4 }, written, 0],
    ['but none elsewhere', { length: 2, address: 0x2_0002 }, written, 0],
  ] as const)('takes writes to memory %s', (_, options, exit, count) => {
    using tiny = tinyVm(payload.mmioWord)
    using event = new K.EventFd()
    tiny.vm.ioeventfd(event, { space: 'mmio', address: 0x2_0000, ...options })
    expect(runToExit(tiny.vcpu)).toMatchObject(exit)
    expect(event.take()).toBe(count)
  })
})

describe('the coalesced ring', () => {
  it('takes writes to memory, in their order, until the zone is gone', () => {
    const zone = { addr: 0x2_0000, size: 0x1000 }
    using tiny = tinyVm(payload.mmioWord)
    tiny.vm.registerCoalescedMmio(zone)
    expect(runToExit(tiny.vcpu)).toMatchObject({ reason: 'mmio', direction: 'read' })
    const ring = tiny.vcpu.coalescedRing()
    const write = { space: 'mmio', address: 0x2_0000, data: Uint8Array.of(0x34, 0x12) }
    expect([ring.take(), ring.take()]).toEqual([write, undefined])
    expect(runToExit(tiny.vcpu)).toEqual({ reason: 'hlt' })
    tiny.vm.unregisterCoalescedMmio(zone)
    tiny.vcpu.setRegs({ rip: 0x1000n, rflags: 2n })
    expect(runToExit(tiny.vcpu)).toMatchObject({ reason: 'mmio', direction: 'write' })
  })
})

describe('a read-only slot', () => {
  it('is read like memory, and exits when it is written', () => {
    using tiny = tinyVm(payload.mmioWord)
    const { vm, vcpu } = tiny
    const memory = K.createGuestMemory([{ guestAddress: 0x2_0000, size: 0x1000 }])
    memory.register(vm, 1, K.KVM_MEM_READONLY)
    memory.write(0x2_0000, Uint8Array.of(1, 2, 0xef, 0xbe))
    expect(runToExit(vcpu)).toEqual({
      reason: 'mmio',
      direction: 'write',
      address: 0x2_0000n,
      data: Uint8Array.of(0x34, 0x12),
    })
    expect(runToExit(vcpu)).toEqual({ reason: 'hlt' })
    expect(vcpu.getRegs().rbx & 0xffffn).toBe(0xbeefn)
    expect(memory.read(0x2_0000, 2)).toEqual(Uint8Array.of(1, 2))
    memory.close()
  })
})
