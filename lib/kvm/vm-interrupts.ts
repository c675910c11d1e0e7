import { invalidOption } from '../errors.js'
import type { InitOfStruct } from '../util/struct.js'
import { KVM_CAP_IRQ_ROUTING } from './abi/capabilities.js'
import {
  KVM_IOEVENTFD_FLAG_DATAMATCH,
  KVM_IOEVENTFD_FLAG_DEASSIGN,
  KVM_IOEVENTFD_FLAG_PIO,
  KVM_IRQFD_FLAG_DEASSIGN,
  KvmIrqchip,
  KvmIrqLevel,
  KvmIrqRouting,
  KvmIrqRoutingEntry,
  KvmMsi,
} from './abi/interrupts.js'
import * as request from './abi/ioctls.js'
import { KvmCoalescedMmioZone } from './abi/memory.js'
import { KvmPitConfig, KvmPitState, KvmPitState2, KvmReinjectControl } from './abi/pit.js'
import type { EventFd } from './event-fd.js'
import { checkInteger } from './fd.js'
import { bytesOf, emptyList } from './lists.js'
import { VmMemory } from './vm-memory.js'

/** Guest accesses that raise an eventfd: {@link VmFd.ioeventfd}. */
export interface IoeventfdOptions {
  /** Ports or memory. */
  space: 'pio' | 'mmio'
  /** A port, or a guest-physical address. */
  address: number
  /** Bytes of the write: 1, 2, 4, 8, or 0 for any (KVM_CAP_IOEVENTFD_ANY_LENGTH). */
  length: 0 | 1 | 2 | 4 | 8
  /** Only writes of this value count. Any value unless told. */
  datamatch?: bigint
}

const UINT32 = 0xffff_ffff

/** The interrupts and the accesses without exits of a virtual machine. Use it as {@link VmFd}. */
export abstract class VmInterrupts extends VmMemory {
  #gsis: number | undefined

  /** KVM_CREATE_IRQCHIP: two 8259A, an IOAPIC, and a local APIC in every vCPU made after. */
  createIrqchip(): void {
    this.native.ioctl(request.KVM_CREATE_IRQCHIP)
  }

  /** KVM_GET_IRQCHIP of KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE or KVM_IRQCHIP_IOAPIC. */
  getIrqchip(chip: number): KvmIrqchip {
    return this.get(request.KVM_GET_IRQCHIP, KvmIrqchip.from({ chip_id: chip }))
  }

  /** KVM_SET_IRQCHIP of the chip that `chip_id` names. */
  setIrqchip(state: InitOfStruct<typeof KvmIrqchip>): void {
    this.set(request.KVM_SET_IRQCHIP, KvmIrqchip.from(state))
  }

  /** KVM_IRQ_LINE: sets a GSI's level. An edge is `true` and then `false`. */
  irqLine(gsi: number, level: boolean): void {
    this.#irqLine(request.KVM_IRQ_LINE, this.#gsi(gsi, 'KVM_IRQ_LINE'), level)
  }

  /**
   * KVM_IRQ_LINE_STATUS: the same, and how many vCPUs it was delivered to: 0 if it merged with one that was pending,
   * negative if it was masked.
   */
  irqLineStatus(gsi: number, level: boolean): number {
    this.#gsi(gsi, 'KVM_IRQ_LINE_STATUS')
    return this.#irqLine(request.KVM_IRQ_LINE_STATUS, gsi, level) | 0
  }

  /** KVM_SIGNAL_MSI. True if it was delivered, false if the guest blocked it. */
  signalMsi(msi: InitOfStruct<typeof KvmMsi>): boolean {
    return this.set(request.KVM_SIGNAL_MSI, KvmMsi.from(msi)) > 0
  }

  /** KVM_SET_GSI_ROUTING: replaces every route. GSIs are below KVM_CAP_IRQ_ROUTING's value. */
  setGsiRouting(routes: readonly InitOfStruct<typeof KvmIrqRoutingEntry>[]): void {
    const { size } = KvmIrqRoutingEntry
    const view = emptyList(KvmIrqRouting.size, size, routes.length)
    routes.forEach((route, index) => {
      const entry = KvmIrqRoutingEntry.from(route)
      this.#gsi(entry.gsi, 'KVM_SET_GSI_ROUTING')
      bytesOf(view).set(entry.bytes.subarray(0, size), KvmIrqRouting.size + index * size)
    })
    this.native.ioctl(request.KVM_SET_GSI_ROUTING, bytesOf(view))
  }

  /**
   * KVM_IRQFD: raising `event` raises the interrupt `gsi`, without this process. With `resample` the interrupt is
   * level-triggered: the guest's end of interrupt lowers it and raises `resample`.
   */
  irqfd(event: EventFd, gsi: number, resample?: EventFd): void {
    this.#gsi(gsi, 'KVM_IRQFD')
    this.native.irqfd(event.native, gsi, 0, resample?.native ?? null)
  }

  /** KVM_IRQFD with KVM_IRQFD_FLAG_DEASSIGN. Closing the eventfd does the same. */
  deassignIrqfd(event: EventFd, gsi: number): void {
    this.#gsi(gsi, 'KVM_IRQFD')
    this.native.irqfd(event.native, gsi, KVM_IRQFD_FLAG_DEASSIGN, null)
  }

  /** KVM_IOEVENTFD: guest writes there raise `event` and go on, without an exit to this process. */
  ioeventfd(event: EventFd, options: IoeventfdOptions): void {
    this.#ioeventfd(event, options, 0)
  }

  /** KVM_IOEVENTFD with KVM_IOEVENTFD_FLAG_DEASSIGN, with the same options as when it was assigned. */
  deassignIoeventfd(event: EventFd, options: IoeventfdOptions): void {
    this.#ioeventfd(event, options, KVM_IOEVENTFD_FLAG_DEASSIGN)
  }

  /** KVM_REGISTER_COALESCED_MMIO: writes there go to the ring of {@link VcpuFd.coalescedRing} and make no exit. */
  registerCoalescedMmio(zone: InitOfStruct<typeof KvmCoalescedMmioZone>): void {
    this.set(request.KVM_REGISTER_COALESCED_MMIO, KvmCoalescedMmioZone.from(zone))
  }

  /** KVM_UNREGISTER_COALESCED_MMIO, with the zone as it was registered. */
  unregisterCoalescedMmio(zone: InitOfStruct<typeof KvmCoalescedMmioZone>): void {
    this.set(request.KVM_UNREGISTER_COALESCED_MMIO, KvmCoalescedMmioZone.from(zone))
  }

  /** KVM_CREATE_PIT2: an 8254 and port 0x61. `flags`: KVM_PIT_SPEAKER_DUMMY. Needs the irqchip. */
  createPit2(flags = 0): void {
    this.set(request.KVM_CREATE_PIT2, KvmPitConfig.from({ flags }))
  }

  /** KVM_GET_PIT2 (KVM_CAP_PIT_STATE2). */
  getPit2(): KvmPitState2 {
    return this.get(request.KVM_GET_PIT2, new KvmPitState2())
  }

  /** KVM_SET_PIT2. */
  setPit2(state: InitOfStruct<typeof KvmPitState2>): void {
    this.set(request.KVM_SET_PIT2, KvmPitState2.from(state))
  }

  /** KVM_CREATE_PIT: the older form of {@link createPit2}. */
  createPit(): void {
    this.native.ioctl(request.KVM_CREATE_PIT)
  }

  /** KVM_GET_PIT: the older form of {@link getPit2}, without flags. */
  getPit(): KvmPitState {
    return this.get(request.KVM_GET_PIT, new KvmPitState())
  }

  /** KVM_SET_PIT. */
  setPit(state: InitOfStruct<typeof KvmPitState>): void {
    this.set(request.KVM_SET_PIT, KvmPitState.from(state))
  }

  /** KVM_REINJECT_CONTROL: whether the PIT makes up for ticks that the guest missed (it does unless told). */
  setPitReinject(reinject: boolean): void {
    const control = KvmReinjectControl.from({ pit_reinject: reinject ? 1 : 0 })
    this.set(request.KVM_REINJECT_CONTROL, control)
  }

  #gsi(gsi: number, ioctl: string): number {
    this.#gsis ??= this.checkExtension(KVM_CAP_IRQ_ROUTING) || 24
    return checkInteger(gsi, `${ioctl} gsi`, 0, this.#gsis - 1)
  }

  #irqLine(number: number, gsi: number, level: boolean): number {
    const line = KvmIrqLevel.from({ irq: gsi, level: level ? 1 : 0 })
    this.set(number, line)
    return line.irq
  }

  #ioeventfd(event: EventFd, options: IoeventfdOptions, deassign: number): void {
    const { space, address, length, datamatch } = options
    if (space !== 'pio' && space !== 'mmio') {
      throw invalidOption('KVM_IOEVENTFD space', space, "'pio' or 'mmio'")
    }
    const limit = space === 'pio' ? 0xffff : Number.MAX_SAFE_INTEGER
    checkInteger(address, 'KVM_IOEVENTFD address', 0, limit)
    checkInteger(length, 'KVM_IOEVENTFD length', 0, UINT32)
    const flags =
      deassign |
      (space === 'pio' ? KVM_IOEVENTFD_FLAG_PIO : 0) |
      (datamatch === undefined ? 0 : KVM_IOEVENTFD_FLAG_DATAMATCH)
    this.native.ioeventfd(event.native, address, length, datamatch ?? 0n, flags)
  }
}
