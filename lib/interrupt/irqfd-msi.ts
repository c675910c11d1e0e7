import type { EventFd } from '../kvm/event-fd.js'
import type { VmFd } from '../kvm/vm-fd.js'
import type { GsiRouting, MsiMessage } from './gsi-routing.js'
import type { MsiLine } from './irq-line.js'
import { IrqfdLine } from './irqfd.js'

/**
 * A message that is sent by writing to an eventfd, which KVM turns into an interrupt by itself. Native threads can send
 * it too, by {@link IrqfdMsi.event}.
 */
export class IrqfdMsi implements MsiLine {
  readonly #vm: VmFd
  readonly #routing: GsiRouting
  readonly #line: IrqfdLine
  #message: MsiMessage | undefined

  /** @throws VmmError `ERR_KVM_UNSUPPORTED` when KVM has no GSI left; KvmError if the process has no descriptor left */
  constructor(vm: VmFd, routing: GsiRouting) {
    this.#vm = vm
    this.#routing = routing
    const gsi = routing.take()
    try {
      this.#line = new IrqfdLine(vm, gsi)
    } catch (error) {
      routing.release(gsi)
      throw error
    }
  }

  /** Each write to it sends the message; several that meet are one. */
  get event(): EventFd {
    return this.#line.event
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
    this.#routing.set(this.#line.gsi, this.#message)
  }

  raise(): void {
    if (this.#message !== undefined) this.#line.pulse()
  }

  close(): void {
    if (this.event.closed) return
    this.#line.close()
    this.#routing.release(this.#line.gsi)
  }
}
