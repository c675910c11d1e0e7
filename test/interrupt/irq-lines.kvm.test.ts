import { readdirSync } from 'node:fs'
import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { IoctlIrqLine } from '../../lib/interrupt/ioctl-irq.js'
import { IrqfdLine } from '../../lib/interrupt/irqfd.js'
import { KVM_IRQCHIP_PIC_MASTER } from '../../lib/kvm/abi/interrupts.js'
import { Kvm } from '../../lib/kvm/kvm.js'
import type { VmFd } from '../../lib/kvm/vm-fd.js'
import { becomes } from '../helpers/process-state.js'

const GSI = 4
const BIT = 1 << GSI

let kvm: Kvm
let vm: VmFd

beforeEach(() => {
  kvm = Kvm.open()
  vm = kvm.createVm()
})

afterEach(() => {
  vm.close()
  kvm.close()
})

// The 8259A tells both: `last_irr` is the lines' level, `irr` the edges that wait.
const pic = () => vm.getIrqchip(KVM_IRQCHIP_PIC_MASTER).pic
const level = () => (pic().last_irr & BIT) !== 0
const edge = () => (pic().irr & BIT) !== 0

/** Takes the edge that waits, as an acknowledge does. */
function takeEdge(): boolean {
  const chip = vm.getIrqchip(KVM_IRQCHIP_PIC_MASTER)
  const waiting = (chip.pic.irr & BIT) !== 0
  chip.pic.irr &= ~BIT
  vm.setIrqchip(chip)
  return waiting
}

/** Irqfds are served by a kernel worker, a moment later. */
async function untilEdge(): Promise<boolean> {
  await becomes(edge)
  return takeEdge()
}

const openFds = () => readdirSync('/proc/self/fd').length

describe('IoctlIrqLine', () => {
  it('has the level of its last change, and one edge for each rise', () => {
    vm.createIrqchip()
    const line = new IoctlIrqLine(vm, GSI)
    expect([level(), edge()]).toEqual([false, false])
    line.assert()
    expect([level(), takeEdge()]).toEqual([true, true])
    line.assert()
    expect([level(), takeEdge()]).toEqual([true, false])
    line.deassert()
    line.deassert()
    expect([level(), edge()]).toEqual([false, false])
    line.assert()
    expect([level(), takeEdge()]).toEqual([true, true])
  })

  it('pulses', () => {
    vm.createIrqchip()
    const line = new IoctlIrqLine(vm, GSI)
    line.pulse()
    expect([level(), takeEdge()]).toEqual([false, true])
  })

  it('does nothing once the VM is closed', () => {
    vm.createIrqchip()
    const line = new IoctlIrqLine(vm, GSI)
    vm.close()
    line.assert()
    line.deassert()
    line.pulse()
  })

  it('cannot be had before the interrupt chip', () => {
    expect(() => new IoctlIrqLine(vm, GSI)).toThrow(expect.objectContaining({ code: 'ENXIO' }))
  })

  it.each([-1, 1.5, 2 ** 32, Number.NaN])('refuses GSI %d', (gsi) => {
    vm.createIrqchip()
    expect(() => new IoctlIrqLine(vm, gsi)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION' }),
    )
  })
})

describe('IrqfdLine', () => {
  it('gives an edge for each pulse', async () => {
    vm.createIrqchip()
    const line = new IrqfdLine(vm, GSI)
    line.pulse()
    expect(await untilEdge()).toBe(true)
    line.pulse()
    expect(await untilEdge()).toBe(true)
    line.close()
  })

  it('gives one edge for an assertion, another after a deassertion', async () => {
    vm.createIrqchip()
    const line = new IrqfdLine(vm, GSI)
    line.assert()
    expect(await untilEdge()).toBe(true)
    line.assert()
    for (let i = 0; i < 100; i++) await turn()
    expect(edge()).toBe(false)
    line.deassert()
    line.assert()
    expect(await untilEdge()).toBe(true)
    line.close()
  })

  it('gives everything back, and does nothing after', () => {
    vm.createIrqchip()
    const before = openFds()
    for (let i = 0; i < 100; i++) {
      const line = new IrqfdLine(vm, GSI)
      line.pulse()
      line.close()
      line.close()
      line.pulse()
      line.assert()
    }
    expect(openFds()).toBe(before)
  })

  it('outlives its VM', () => {
    vm.createIrqchip()
    const line = new IrqfdLine(vm, GSI)
    vm.close()
    line.pulse()
    line.close()
  })

  it('leaves nothing open when the VM has no interrupt chip', () => {
    const before = openFds()
    expect(() => new IrqfdLine(vm, GSI)).toThrow(expect.objectContaining({ syscall: 'KVM_IRQFD' }))
    expect(openFds()).toBe(before)
  })
})
