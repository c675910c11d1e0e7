import { KvmIrqLevel } from '../kvm/abi/interrupts.js'
import { KVM_IRQ_LINE } from '../kvm/abi/ioctls.js'
import type { VmFd } from '../kvm/vm-fd.js'
import type { IrqLine } from './irq-line.js'

/**
 * A line of the in-kernel interrupt chips with a true level, by KVM_IRQ_LINE (KVM API section 4.25): one ioctl for each
 * change, none for a call that changes nothing. Starts out deasserted.
 */
export class IoctlIrqLine implements IrqLine {
  readonly gsi: number
  /** Whose chips they are. */
  readonly vm: VmFd
  /** Built once: a serial console changes its line thousands of times a second. */
  readonly #high: Uint8Array
  readonly #low: Uint8Array
  #asserted = false

  /** @throws KvmError `ENXIO` if the VM has no interrupt chip yet, or no longer; VmmError for a `gsi` that is no 32-bit integer */
  constructor(vm: VmFd, gsi: number) {
    this.gsi = gsi
    this.vm = vm
    this.#high = KvmIrqLevel.from({ irq: gsi, level: 1 }).bytes
    this.#low = KvmIrqLevel.from({ irq: gsi, level: 0 }).bytes
    vm.ioctl(KVM_IRQ_LINE, this.#low)
  }

  assert(): void {
    if (this.#asserted || this.vm.closed) return
    this.#asserted = true
    this.vm.ioctl(KVM_IRQ_LINE, this.#high)
  }

  deassert(): void {
    if (!this.#asserted || this.vm.closed) return
    this.#asserted = false
    this.vm.ioctl(KVM_IRQ_LINE, this.#low)
  }

  /** A rising edge, and then a falling one. A line that is asserted has none to give and stays so. */
  pulse(): void {
    if (this.#asserted) return
    this.assert()
    this.deassert()
  }
}
