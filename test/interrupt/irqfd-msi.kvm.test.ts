import { afterEach, beforeEach, expect, it } from 'vitest'
import { GsiRouting } from '../../lib/interrupt/gsi-routing.js'
import { IoctlIrqLine } from '../../lib/interrupt/ioctl-irq.js'
import { IrqfdMsi } from '../../lib/interrupt/irqfd-msi.js'
import { KVM_IRQCHIP_PIC_MASTER } from '../../lib/kvm/abi/interrupts.js'
import { Kvm } from '../../lib/kvm/kvm.js'
import type { VcpuFd } from '../../lib/kvm/vcpu-fd.js'
import type { VmFd } from '../../lib/kvm/vm-fd.js'
import { enableLocalApic, isRequested } from '../helpers/local-apic.js'
import { becomes, openFds } from '../helpers/process-state.js'

const ADDRESS = 0xfee0_0000

let kvm: Kvm
let vm: VmFd
let vcpu: VcpuFd

beforeEach(() => {
  kvm = Kvm.open()
  vm = kvm.createVm()
  vm.createIrqchip()
  vcpu = vm.createVcpu(0)
  enableLocalApic(vcpu)
})

afterEach(() => {
  vcpu.close()
  vm.close()
  kvm.close()
})

const requested = (vector: number) => isRequested(vcpu, vector)

it('sends the message that it was given last, and none before', async () => {
  const routing = new GsiRouting(vm)
  const line = new IrqfdMsi(vm, routing)
  line.raise()
  line.route(ADDRESS, 0, 0x41)
  line.raise()
  expect(await becomes(() => requested(0x41))).toBe(true)
  line.route(ADDRESS, 0, 0x52)
  line.raise()
  expect(await becomes(() => requested(0x52))).toBe(true)
  line.close()
  line.raise()
  line.route(ADDRESS, 0, 0x53)
  line.close()
  expect(routing.refused).toBe(0)
})

it('leaves the pins of the interrupt chips where they are', () => {
  const line = new IrqfdMsi(vm, new GsiRouting(vm))
  line.route(ADDRESS, 0, 0x41)
  new IoctlIrqLine(vm, 4).assert()
  expect(vm.getIrqchip(KVM_IRQCHIP_PIC_MASTER).pic.last_irr & (1 << 4)).toBeTruthy()
  line.close()
})

it('takes any message, and goes on with the others', async () => {
  const routing = new GsiRouting(vm)
  const [good, bad] = [new IrqfdMsi(vm, routing), new IrqfdMsi(vm, routing)]
  good.route(ADDRESS, 0, 0x61)
  for (const half of [0, 0x1234_5678, 0xffff_ffff]) {
    bad.route(half, half, 0xffff_ffff)
    bad.raise()
  }
  good.raise()
  expect(await becomes(() => requested(0x61))).toBe(true)
})

it('gives back what it held, and its number', () => {
  const routing = new GsiRouting(vm)
  new IrqfdMsi(vm, routing).close()
  const before = openFds()
  for (let i = 0; i < 5000; i++) {
    const line = new IrqfdMsi(vm, routing)
    if (i % 100 === 0) line.route(ADDRESS, 0, 0x41)
    line.close()
  }
  expect(openFds()).toBe(before)
})

it('has so many as KVM has room for', () => {
  const routing = new GsiRouting(vm)
  const taken = () => {
    for (;;) routing.take()
  }
  expect(taken).toThrow(expect.objectContaining({ code: 'ERR_KVM_UNSUPPORTED' }))
})
