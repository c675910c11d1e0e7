import { EventFd } from '../kvm/event-fd.js'
import type { VmFd } from '../kvm/vm-fd.js'
import type { IrqLine } from './irq-line.js'

/**
 * A line that is raised by writing to an eventfd, which KVM turns into an interrupt by itself (KVM_IRQFD, KVM API
 * section 4.75): the cheapest way to an edge. Native threads can raise it too, by {@link IrqfdLine.event}.
 *
 * It knows edges only: `assert` gives one when the line was deasserted, `deassert` makes the next one possible.
 */
export class IrqfdLine implements IrqLine {
  readonly gsi: number
  /** Each write to it is one edge; several that meet are one. */
  readonly event: EventFd
  readonly #vm: VmFd
  #asserted = false

  /** @throws KvmError if the VM has no interrupt chip, or the process no descriptor left; VmmError for a `gsi` that is no 32-bit integer */
  constructor(vm: VmFd, gsi: number) {
    this.gsi = gsi
    this.#vm = vm
    this.event = new EventFd()
    try {
      vm.irqfd(this.event, gsi)
    } catch (error) {
      this.event.close()
      throw error
    }
  }

  assert(): void {
    if (this.#asserted) return
    this.#asserted = true
    this.pulse()
  }

  deassert(): void {
    this.#asserted = false
  }

  pulse(): void {
    if (!this.event.closed && !this.#vm.closed) this.event.signal()
  }

  /** Gives the eventfd back. The line is dead from then on. */
  close(): void {
    if (this.event.closed) return
    if (!this.#vm.closed) this.#vm.deassignIrqfd(this.event, this.gsi)
    this.event.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}
