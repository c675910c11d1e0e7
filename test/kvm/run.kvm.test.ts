import { describe, expect, it } from 'vitest'
import { KVM_EXIT_HLT, KVM_EXIT_INTR, KVM_EXIT_IO, KVM_EXIT_MMIO } from '../../lib/kvm.js'
import { payload, runToExit, runToReason, tinyVm, toProtectedMode } from '../helpers/payloads.js'

describe('run', () => {
  it('returns for a port write and shows it in place and as an object', () => {
    using tiny = tinyVm(payload.outByte(0x10, 0x41))
    expect(runToReason(tiny.vcpu)).toBe(KVM_EXIT_IO)
    const { runPage } = tiny.vcpu
    expect(runPage.ioPort).toBe(0x10)
    expect(runPage.ioIsIn).toBe(false)
    expect(runPage.ioSize).toBe(1)
    expect(runPage.ioCount).toBe(1)
    expect(runPage.ioData()).toBe(0x41)
    expect(runPage.exit()).toEqual({
      reason: 'io',
      direction: 'out',
      port: 0x10,
      size: 1,
      count: 1,
      data: Uint8Array.of(0x41),
    })
    expect(runToReason(tiny.vcpu)).toBe(KVM_EXIT_HLT)
    expect(runPage.exit()).toEqual({ reason: 'hlt' })
  })

  it('hands the answer of a port read to the guest', () => {
    using tiny = tinyVm(payload.inByte(0x71))
    expect(runToReason(tiny.vcpu)).toBe(KVM_EXIT_IO)
    expect(tiny.vcpu.runPage.exit()).toMatchObject({ direction: 'in', port: 0x71, size: 1 })
    tiny.vcpu.runPage.setIoData(0x1a7)
    expect(runToReason(tiny.vcpu)).toBe(KVM_EXIT_HLT)
    expect(tiny.memory.read(0x2000, 1)).toEqual(Uint8Array.of(0xa7))
  })

  it('gives all bytes of a string instruction, in one exit or several', () => {
    using tiny = tinyVm(payload.repOuts)
    tiny.memory.write(0x2000, Uint8Array.of(1, 2, 3))
    const written: number[] = []
    for (let exit = runToExit(tiny.vcpu); exit.reason === 'io'; exit = runToExit(tiny.vcpu)) {
      written.push(...exit.data)
    }
    expect(written).toEqual([1, 2, 3])
  })

  it('shows memory-mapped reads and writes, and hands the answer to the guest', () => {
    using tiny = tinyVm(payload.mmioWord)
    expect(runToReason(tiny.vcpu)).toBe(KVM_EXIT_MMIO)
    const { runPage } = tiny.vcpu
    expect(runPage.exit()).toEqual({
      reason: 'mmio',
      direction: 'write',
      address: 0x20000n,
      data: Uint8Array.of(0x34, 0x12),
    })
    expect([
      runPage.mmioAddress,
      runPage.mmioLength,
      runPage.mmioIsWrite,
      runPage.mmioData,
    ]).toEqual([0x20000, 2, true, 0x1234])
    expect(runToReason(tiny.vcpu)).toBe(KVM_EXIT_MMIO)
    expect(runPage.exit()).toMatchObject({ direction: 'read', address: 0x20002n })
    runPage.mmioData = 0xbeef
    expect(runToReason(tiny.vcpu)).toBe(KVM_EXIT_HLT)
    expect(tiny.vcpu.getRegs().rbx & 0xffffn).toBe(0xbeefn)
  })

  it('comes back by itself from a guest that never exits', () => {
    using tiny = tinyVm(payload.spin)
    expect(tiny.vcpu.run()).toBe(KVM_EXIT_INTR)
    expect(tiny.vcpu.run()).toBe(KVM_EXIT_INTR)
  })

  it('returns at once while immediateExit is set', () => {
    using tiny = tinyVm(payload.hlt)
    tiny.vcpu.runPage.immediateExit = true
    expect(tiny.vcpu.run()).toBe(KVM_EXIT_INTR)
    tiny.vcpu.runPage.immediateExit = false
    expect(runToReason(tiny.vcpu)).toBe(KVM_EXIT_HLT)
  })

  it('reports a triple fault as a shutdown', () => {
    using tiny = tinyVm(payload.ud2)
    toProtectedMode(tiny.vcpu)
    expect(runToExit(tiny.vcpu)).toEqual({ reason: 'shutdown' })
  })

  it('does not need its object for a borrowed run function, and refuses it after close', () => {
    const tiny = tinyVm(payload.hlt)
    const { run } = tiny.vcpu.native
    expect(run()).toBe(0)
    tiny[Symbol.dispose]()
    expect(() => run()).toThrow(expect.objectContaining({ code: 'ERR_CLOSED' }))
  })
})
