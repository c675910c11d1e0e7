import { VmmError } from '../errors.js'
import { KVM_CAP_IRQ_ROUTING } from '../kvm/abi/capabilities.js'
import {
  KVM_IOAPIC_NUM_PINS,
  KVM_IRQ_ROUTING_IRQCHIP,
  KVM_IRQ_ROUTING_MSI,
  KVM_IRQCHIP_IOAPIC,
  KVM_IRQCHIP_PIC_MASTER,
  KVM_IRQCHIP_PIC_SLAVE,
  type KvmIrqRoutingEntry,
} from '../kvm/abi/interrupts.js'
import type { VmFd } from '../kvm/vm-fd.js'
import type { InitOfStruct } from '../util/struct.js'

type Route = InitOfStruct<typeof KvmIrqRoutingEntry>

/** A message of an MSI. */
export interface MsiMessage {
  readonly addressLow: number
  readonly addressHigh: number
  readonly data: number
}

const PIC_PINS = 8

/** What KVM_CREATE_IRQCHIP sets up: each GSI is a pin of the IOAPIC, the first 16 pins of the PICs too. */
const IRQCHIP_ROUTES: readonly Route[] = Array.from({ length: KVM_IOAPIC_NUM_PINS }, (_, gsi) => {
  const pin = (irqchip: number, pin: number) => ({
    gsi,
    type: KVM_IRQ_ROUTING_IRQCHIP,
    irqchip: { irqchip, pin },
  })
  const ioapic = pin(KVM_IRQCHIP_IOAPIC, gsi)
  if (gsi >= 2 * PIC_PINS) return [ioapic]
  const pic = gsi < PIC_PINS ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE
  return [pin(pic, gsi % PIC_PINS), ioapic]
}).flat()

/**
 * A VM's table of what each GSI raises: the pins of the interrupt chips in the kernel, and after them messages
 * (KVM_SET_GSI_ROUTING, KVM API section 4.52). One for each VM, as the ioctl replaces the whole table.
 */
export class GsiRouting {
  /** Messages that the kernel refused to route. */
  refused = 0
  readonly #vm: VmFd
  readonly #size: number
  readonly #chips: readonly Route[]
  readonly #messages = new Map<number, MsiMessage | undefined>()

  /** @param options.pins who has the pins of an IOAPIC: chips in the kernel, unless told, or who sends messages for them */
  constructor(vm: VmFd, { pins = 'chips' }: { pins?: 'chips' | 'messages' } = {}) {
    this.#vm = vm
    this.#chips = pins === 'chips' ? IRQCHIP_ROUTES : []
    if (pins === 'messages') {
      for (let pin = 0; pin < KVM_IOAPIC_NUM_PINS; pin++) this.#messages.set(pin, undefined)
    }
    this.#size = vm.checkExtension(KVM_CAP_IRQ_ROUTING)
  }

  /**
   * A GSI for a message.
   * @throws VmmError `ERR_KVM_UNSUPPORTED` when KVM has no more of them
   */
  take(): number {
    // The table has as many entries as there are GSIs, and those of the chips are more than their GSIs.
    const room = this.#size - this.#chips.length
    if (this.#messages.size >= room) {
      throw new VmmError(
        'ERR_KVM_UNSUPPORTED',
        `this host's KVM has room for ${Math.max(room, 0)} message-signalled interrupts, which are all taken`,
      )
    }
    let gsi = KVM_IOAPIC_NUM_PINS
    while (this.#messages.has(gsi)) gsi++
    this.#messages.set(gsi, undefined)
    return gsi
  }

  /** What `gsi` sends from now on, if anything. A message that the kernel refuses is counted, and the one before it stays. */
  set(gsi: number, message: MsiMessage | undefined): void {
    const before = this.#messages.get(gsi)
    this.#messages.set(gsi, message)
    try {
      this.#commit()
    } catch {
      this.refused++
      this.#messages.set(gsi, before)
    }
  }

  /** Gives a GSI back, once nothing can raise it. */
  release(gsi: number): void {
    const message = this.#messages.get(gsi)
    this.#messages.delete(gsi)
    if (message !== undefined && !this.#vm.closed) this.#commit()
  }

  #commit(): void {
    const messages = [...this.#messages].flatMap(([gsi, message]) => {
      if (message === undefined) return []
      const { addressLow, addressHigh, data } = message
      const msi = { address_lo: addressLow, address_hi: addressHigh, data }
      return [{ gsi, type: KVM_IRQ_ROUTING_MSI, msi }]
    })
    this.#vm.setGsiRouting([...this.#chips, ...messages])
  }
}
