import { EventFd } from '../kvm/event-fd.js'
import type { VmFd } from '../kvm/vm-fd.js'
import type { GsiRouting, MsiMessage } from './gsi-routing.js'
import type { MsiLine } from './irq-line.js'

/**
 * A message that is sent by writing to an eventfd, which KVM turns into an interrupt by itself. Native threads can send
 * it too, by {@link IrqfdMsi.event}.
 */
export class IrqfdMsi implements MsiLine {
  /** Each write to it sends the message; several that meet are one. */
  readonly event: EventFd
  readonly #vm: VmFd
  readonly #routing: GsiRouting
  readonly #gsi: number
  #message: MsiMessage | undefined

  /** @throws VmmError `ERR_KVM_UNSUPPORTED` when KVM has no GSI left; KvmError if the process has no descriptor left */
  constructor(vm: VmFd, routing: GsiRouting) {
    this.#vm = vm
    this.#routing = routing
    this.#gsi = routing.take()
    try {
      this.event = new EventFd()
    } catch (error) {
      routing.release(this.#gsi)
      throw error
    }
    try {
      vm.irqfd(this.event, this.#gsi)
    } catch (error) {
      routing.release(this.#gsi)
      this.event.close()
      throw error
    }
  }

  route(addressLow: number, addressHigh: number, data: number): void {
    if (this.event.closed || this.#vm.closed) return
    const now = this.#message
    if (
      now !== undefined &&
      now.addressLow === addressLow &&
      now.addressHigh === addressHigh &&
      now.data === data
    ) {
      return
    }
    this.#message = { addressLow, addressHigh, data }
    this.#routing.set(this.#gsi, this.#message)
  }

  raise(): void {
    if (this.#message !== undefined && !this.event.closed && !this.#vm.closed) this.event.signal()
  }

  close(): void {
    if (this.event.closed) return
    if (!this.#vm.closed) this.#vm.deassignIrqfd(this.event, this.#gsi)
    this.event.close()
    this.#routing.release(this.#gsi)
  }
}
