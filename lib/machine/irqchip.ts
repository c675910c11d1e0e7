import { IOAPIC_PINS, IOAPIC_START } from '../arch/x86-64/layout.js'
import type { Bus } from '../bus/bus.js'
import { IOAPIC_WINDOW, Ioapic } from '../devices/legacy/ioapic.js'
import { GsiRouting } from '../interrupt/gsi-routing.js'
import { IoctlIrqLine } from '../interrupt/ioctl-irq.js'
import type { IrqLine } from '../interrupt/irq-line.js'
import { KVM_CAP_SPLIT_IRQCHIP } from '../kvm/abi/capabilities.js'
import { KVM_PIT_SPEAKER_DUMMY } from '../kvm/abi/pit.js'
import type { VmFd } from '../kvm/vm-fd.js'
import type { MachineConfig } from './machine-config.js'

/** A machine's interrupt controllers besides the local APICs, which are KVM's in any case. */
export interface Irqchip {
  readonly routing: GsiRouting
  /** A line with a true level to one of the IOAPIC's pins. */
  line(gsi: number): IrqLine
  /** The IOAPIC if it is of this process; the kernel has it otherwise, with PICs and PIT. */
  readonly ioapic: Ioapic | undefined
}

/** Before the first vCPU. @throws KvmError */
export function createIrqchip(
  vm: VmFd,
  { irqchip }: Pick<MachineConfig, 'irqchip'>,
  mmio: Bus,
  resettable: { reset(): void }[],
): Irqchip {
  if (irqchip === 'kernel') {
    vm.createIrqchip()
    // Without its port 0x61 the guest's PIT calibration reads a port that nobody has.
    vm.createPit2(KVM_PIT_SPEAKER_DUMMY)
    const routing = new GsiRouting(vm)
    return { routing, line: (gsi) => new IoctlIrqLine(vm, gsi), ioapic: undefined }
  }
  vm.enableCap(KVM_CAP_SPLIT_IRQCHIP, [BigInt(IOAPIC_PINS)])
  const routing = new GsiRouting(vm, { pins: 'messages' })
  const ioapic = new Ioapic({
    pins: IOAPIC_PINS,
    send: ({ addressLow, addressHigh, data }) => {
      if (!vm.closed) vm.signalMsi({ address_lo: addressLow, address_hi: addressHigh, data })
    },
    route: (pin, message) => {
      if (!vm.closed) routing.set(pin, message)
    },
  })
  mmio.attach(IOAPIC_START, IOAPIC_WINDOW, ioapic)
  resettable.push(ioapic)
  return { routing, line: (gsi) => ioapic.line(gsi), ioapic }
}
