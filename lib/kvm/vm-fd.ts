import type { NativeMapping, NativeVm } from '../binding.js'
import { KvmError } from '../errors.js'
import type { InitOfStruct } from '../util/struct.js'
import { KVM_CAP_MAX_VCPU_ID, KVM_CAP_NR_MEMSLOTS } from './abi/capabilities.js'
import {
  KVM_IOEVENTFD_FLAG_DATAMATCH,
  KVM_IOEVENTFD_FLAG_DEASSIGN,
  KVM_IOEVENTFD_FLAG_PIO,
  KVM_IRQFD_FLAG_DEASSIGN,
  KvmIrqchip,
  KvmIrqLevel,
  KvmIrqRoutingEntry,
  KvmMsi,
} from './abi/interrupts.js'
import * as request from './abi/ioctls.js'
import { KvmCoalescedMmioZone } from './abi/memory.js'
import { KvmPitConfig, KvmPitState2, KvmReinjectControl } from './abi/pit.js'
import { KVM_CREATE_DEVICE_TEST, KvmClockData, KvmEnableCap } from './abi/vm.js'
import { DeviceFd } from './device-fd.js'
import type { EventFd } from './event-fd.js'
import { checkInteger, Fd } from './fd.js'
import { bytesOf, emptyList } from './lists.js'
import { VcpuFd } from './vcpu-fd.js'

/** A memory slot: {@link VmFd.setUserMemoryRegion}. */
export interface UserMemoryRegion {
  /** The slot's number, the address space (KVM_CAP_MULTI_ADDRESS_SPACE) in the high 16 bits. */
  slot: number
  /** Guest-physical, a multiple of 4096. */
  guestAddress: number
  /** Bytes, a multiple of 4096; 0 deletes the slot. */
  size: number
  /** The memory behind it; absent when deleting. */
  mapping?: NativeMapping
  /** Where in the mapping it begins, a multiple of 4096; 0 unless told. */
  offset?: number
  /** KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY. */
  flags?: number
}

/** Guest accesses that raise an eventfd: {@link VmFd.ioeventfd}. */
export interface IoeventfdOptions {
  space: 'pio' | 'mmio'
  address: number
  /** Bytes of the write: 1, 2, 4, 8, or 0 for any (KVM_CAP_IOEVENTFD_ANY_LENGTH). */
  length: number
  /** Only writes of this value count. Any value unless told. */
  datamatch?: bigint
}

const UINT32 = 0xffffffff

/**
 * A virtual machine's descriptor (KVM API section 4). Belongs to the thread that made it.
 * `close()` leaves vCPUs and devices usable: the kernel's VM goes with the last of its descriptors.
 */
export class VmFd extends Fd<NativeVm> {
  /** KVM_CHECK_EXTENSION on the VM: as {@link Kvm.checkExtension}, for this VM's type. */
  checkExtension(capability: number): number {
    return this.native.ioctl(request.KVM_CHECK_EXTENSION, capability)
  }

  /** KVM_ENABLE_CAP on the VM, with up to 4 arguments. */
  enableCap(capability: number, args: readonly bigint[] = [], flags = 0): void {
    this.set(request.KVM_ENABLE_CAP, KvmEnableCap.from({ cap: capability, flags, args }))
  }

  /** KVM_CREATE_VCPU. `id` is the APIC id, below KVM_CAP_MAX_VCPU_ID. */
  createVcpu(id: number): VcpuFd {
    checkInteger(id, 'KVM_CREATE_VCPU id', 0, (this.checkExtension(KVM_CAP_MAX_VCPU_ID) || 4) - 1)
    return new VcpuFd(this.native.createVcpu(id))
  }

  /** KVM_CREATE_DEVICE. `type` is one of KVM_DEV_TYPE_*. */
  createDevice(type: number): DeviceFd {
    return new DeviceFd(this.native.createDevice(type, 0)!)
  }

  /** KVM_CREATE_DEVICE with KVM_CREATE_DEVICE_TEST: whether this VM could have such a device. */
  testDevice(type: number): boolean {
    try {
      this.native.createDevice(type, KVM_CREATE_DEVICE_TEST)
      return true
    } catch (error) {
      if (error instanceof KvmError && error.code === 'ENODEV') return false
      throw error
    }
  }

  /**
   * KVM_SET_USER_MEMORY_REGION: creates, moves, changes the flags of, or deletes a memory slot. The VM keeps the
   * mapping's memory while the slot is there, even after `mapping.close()`.
   * @throws KvmError `EEXIST` if it overlaps another slot, `EINVAL` for what a slot cannot change.
   */
  setUserMemoryRegion(region: UserMemoryRegion): void {
    const { slot, guestAddress, size, mapping, offset = 0, flags = 0 } = region
    const name = 'KVM_SET_USER_MEMORY_REGION'
    checkInteger(slot, `${name} slot`, 0, UINT32)
    checkInteger(slot & 0xffff, `${name} slot`, 0, this.checkExtension(KVM_CAP_NR_MEMSLOTS) - 1)
    checkInteger(guestAddress, `${name} guestAddress`, 0, Number.MAX_SAFE_INTEGER, 4096)
    checkInteger(size, `${name} size`, 0, Number.MAX_SAFE_INTEGER, 4096)
    checkInteger(offset, `${name} offset`, 0, Number.MAX_SAFE_INTEGER, 4096)
    this.native.setUserMemoryRegion(slot, flags, guestAddress, size, mapping ?? null, offset)
  }

  /** KVM_SET_TSS_ADDR: three pages below 4 GiB that Intel's virtualization without unrestricted guest needs. */
  setTssAddr(guestAddress: number): void {
    checkInteger(guestAddress, 'KVM_SET_TSS_ADDR guestAddress', 0, UINT32)
    this.native.ioctl(request.KVM_SET_TSS_ADDR, guestAddress)
  }

  /** KVM_SET_IDENTITY_MAP_ADDR: one page below 4 GiB, for the same; before the first vCPU. */
  setIdentityMapAddr(guestAddress: number): void {
    checkInteger(guestAddress, 'KVM_SET_IDENTITY_MAP_ADDR guestAddress', 0, UINT32)
    const view = new DataView(new ArrayBuffer(8))
    view.setBigUint64(0, BigInt(guestAddress), true)
    this.native.ioctl(request.KVM_SET_IDENTITY_MAP_ADDR, bytesOf(view))
  }

  /** KVM_SET_BOOT_CPU_ID: which vCPU starts; before the first vCPU is made. */
  setBootCpuId(id: number): void {
    this.native.ioctl(
      request.KVM_SET_BOOT_CPU_ID,
      checkInteger(id, 'KVM_SET_BOOT_CPU_ID id', 0, UINT32),
    )
  }

  /** KVM_CREATE_IRQCHIP: two 8259A, an IOAPIC, and a local APIC in every vCPU made after. */
  createIrqchip(): void {
    this.native.ioctl(request.KVM_CREATE_IRQCHIP)
  }

  /** KVM_GET_IRQCHIP of KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE or KVM_IRQCHIP_IOAPIC. */
  getIrqchip(chip: number): KvmIrqchip {
    return this.get(request.KVM_GET_IRQCHIP, KvmIrqchip.from({ chip_id: chip }))
  }

  setIrqchip(state: InitOfStruct<typeof KvmIrqchip>): void {
    this.set(request.KVM_SET_IRQCHIP, KvmIrqchip.from(state))
  }

  /** KVM_IRQ_LINE: sets a GSI's level. An edge is `true` and then `false`. */
  irqLine(gsi: number, level: boolean): void {
    this.#irqLine(request.KVM_IRQ_LINE, gsi, level)
  }

  /**
   * KVM_IRQ_LINE_STATUS: the same, and how many vCPUs it was delivered to: 0 if it merged with one that was pending,
   * negative if it was masked.
   */
  irqLineStatus(gsi: number, level: boolean): number {
    return this.#irqLine(request.KVM_IRQ_LINE_STATUS, gsi, level) | 0
  }

  /** KVM_SIGNAL_MSI. True if it was delivered, false if the guest blocked it. */
  signalMsi(msi: InitOfStruct<typeof KvmMsi>): boolean {
    return this.set(request.KVM_SIGNAL_MSI, KvmMsi.from(msi)) > 0
  }

  /** KVM_SET_GSI_ROUTING: replaces every route. */
  setGsiRouting(routes: readonly InitOfStruct<typeof KvmIrqRoutingEntry>[]): void {
    const view = emptyList(8, KvmIrqRoutingEntry.size, routes.length)
    routes.forEach((route, index) => {
      bytesOf(view).set(
        KvmIrqRoutingEntry.from(route).bytes.subarray(0, KvmIrqRoutingEntry.size),
        8 + index * KvmIrqRoutingEntry.size,
      )
    })
    this.native.ioctl(request.KVM_SET_GSI_ROUTING, bytesOf(view))
  }

  /**
   * KVM_IRQFD: raising `event` raises the interrupt `gsi`, without this process. With `resample` the interrupt is
   * level-triggered: the guest's end of interrupt lowers it and raises `resample`.
   */
  irqfd(event: EventFd, gsi: number, resample?: EventFd): void {
    checkInteger(gsi, 'KVM_IRQFD gsi', 0, UINT32)
    this.native.irqfd(event.native, gsi, 0, resample?.native ?? null)
  }

  /** KVM_IRQFD with KVM_IRQFD_FLAG_DEASSIGN. Closing the eventfd does the same. */
  deassignIrqfd(event: EventFd, gsi: number): void {
    checkInteger(gsi, 'KVM_IRQFD gsi', 0, UINT32)
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

  unregisterCoalescedMmio(zone: InitOfStruct<typeof KvmCoalescedMmioZone>): void {
    this.set(request.KVM_UNREGISTER_COALESCED_MMIO, KvmCoalescedMmioZone.from(zone))
  }

  /** KVM_CREATE_PIT2: an 8254 and port 0x61. `flags`: KVM_PIT_SPEAKER_DUMMY. Needs the irqchip. */
  createPit2(flags = 0): void {
    this.set(request.KVM_CREATE_PIT2, KvmPitConfig.from({ flags }))
  }

  getPit2(): KvmPitState2 {
    return this.get(request.KVM_GET_PIT2, new KvmPitState2())
  }

  setPit2(state: InitOfStruct<typeof KvmPitState2>): void {
    this.set(request.KVM_SET_PIT2, KvmPitState2.from(state))
  }

  /** KVM_REINJECT_CONTROL: whether the PIT makes up for ticks that the guest missed (it does unless told). */
  setPitReinject(reinject: boolean): void {
    this.set(
      request.KVM_REINJECT_CONTROL,
      KvmReinjectControl.from({ pit_reinject: reinject ? 1 : 0 }),
    )
  }

  /** KVM_GET_CLOCK: kvmclock, and with its flags the host's real time and TSC at that moment. */
  getClock(): KvmClockData {
    return this.get(request.KVM_GET_CLOCK, new KvmClockData())
  }

  setClock(clock: InitOfStruct<typeof KvmClockData>): void {
    this.set(request.KVM_SET_CLOCK, KvmClockData.from(clock))
  }

  #irqLine(number: number, gsi: number, level: boolean): number {
    const line = KvmIrqLevel.from({
      irq: checkInteger(gsi, 'KVM_IRQ_LINE gsi', 0, UINT32),
      level: level ? 1 : 0,
    })
    this.set(number, line)
    return line.irq
  }

  #ioeventfd(event: EventFd, options: IoeventfdOptions, deassign: number): void {
    const { space, address, length, datamatch } = options
    const limit = space === 'pio' ? 0xffff : Number.MAX_SAFE_INTEGER
    checkInteger(address, 'KVM_IOEVENTFD address', 0, limit)
    checkInteger(length, 'KVM_IOEVENTFD length', 0, 8)
    const flags =
      deassign |
      (space === 'pio' ? KVM_IOEVENTFD_FLAG_PIO : 0) |
      (datamatch === undefined ? 0 : KVM_IOEVENTFD_FLAG_DATAMATCH)
    this.native.ioeventfd(event.native, address, length, datamatch ?? 0n, flags)
  }
}
