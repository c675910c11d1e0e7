import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { IOAPIC_START } from '../../lib/arch/x86-64/layout.js'
import { Bus } from '../../lib/bus/bus.js'
import { IrqfdLine } from '../../lib/interrupt/irqfd.js'
import { IrqfdMsi } from '../../lib/interrupt/irqfd-msi.js'
import { KVM_CAP_SPLIT_IRQCHIP } from '../../lib/kvm/abi/capabilities.js'
import { Kvm } from '../../lib/kvm/kvm.js'
import type { VcpuFd } from '../../lib/kvm/vcpu-fd.js'
import type { VmFd } from '../../lib/kvm/vm-fd.js'
import { createIrqchip, type Irqchip } from '../../lib/machine/irqchip.js'
import { enableLocalApic, isRequested } from '../helpers/local-apic.js'
import { becomes } from '../helpers/process-state.js'
import { tinyMachines } from './machines.js'
import * as guest from './tiny-guest.js'

const LEVEL = 1 << 15

let kvm: Kvm
let vm: VmFd
let vcpu: VcpuFd
let irqchip: Irqchip
let bus: Bus

beforeEach(() => {
  kvm = Kvm.open()
  vm = kvm.createVm()
  bus = new Bus('mmio')
  irqchip = createIrqchip(vm, { irqchip: 'split' }, bus, [])
  vcpu = vm.createVcpu(0)
  enableLocalApic(vcpu)
})
afterEach(() => {
  vcpu.close()
  vm.close()
  kvm.close()
})

function program(pin: number, low: number): void {
  bus.write(IOAPIC_START, 4, 0x10 + 2 * pin)
  bus.write(IOAPIC_START + 0x10, 4, low)
}

const requested = (vector: number) => isRequested(vcpu, vector)

const split = () => {
  using kvm = Kvm.open()
  return kvm.checkExtension(KVM_CAP_SPLIT_IRQCHIP) > 0
}

describe.skipIf(!split())("irqchip: 'split', which needs KVM_CAP_SPLIT_IRQCHIP", () => {
  it('brings lines to the local APIC, as the guest says', () => {
    const line = irqchip.line(4)
    line.pulse()
    program(4, 0x41)
    expect(requested(0x41)).toBe(false)
    line.pulse()
    expect(requested(0x41)).toBe(true)
    program(9, 0x52 | LEVEL)
    irqchip.line(9).assert()
    expect(requested(0x52)).toBe(true)
  })

  it('brings edges of an irqfd there without this process, and beside them messages', async () => {
    const line = new IrqfdLine(vm, 5)
    const message = new IrqfdMsi(vm, irqchip.routing)
    program(5, 0x61)
    line.pulse()
    expect(await becomes(() => requested(0x61))).toBe(true)
    message.route(0xfee0_0000, 0, 0x62)
    message.raise()
    expect(await becomes(() => requested(0x62))).toBe(true)
    message.close()
    line.close()
  })

  const create = tinyMachines({ irqchip: 'split' })
  it('is what a machine runs with, is reset with, and ends with', async () => {
    const vm = await create([guest.print('up'), guest.echoLine], { rng: true, onReset: 'restart' })
    await vm.start()
    await vm.reset()
    vm.console.input.write('x\n')
    expect(await vm.stopped).toEqual({ kind: 'shutdown' })
  })

  it('goes with what tells of it', async () => {
    const invalid = { code: 'ERR_INVALID_OPTION', option: 'irqchip' }
    await expect(create([guest.spin], { acpi: false })).rejects.toMatchObject(invalid)
  })
})
