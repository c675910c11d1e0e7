import type { NativeMapping } from '../binding.js'
import { KvmError } from '../errors.js'
import type { InitOfStruct } from '../util/struct.js'
import { KVM_CAP_MAX_VCPU_ID } from './abi/capabilities.js'
import {
  KVM_HYPERV_CONN_ID_MASK,
  KVM_HYPERV_EVENTFD_DEASSIGN,
  KvmXenHvmAttr,
} from './abi/hyperv-xen.js'
import { KvmIrqRoutingXenEvtchn } from './abi/interrupts.js'
import * as request from './abi/ioctls.js'
import { KVM_MSR_FILTER_MAX_BITMAP_SIZE, KVM_MSR_FILTER_MAX_RANGES } from './abi/msrs.js'
import {
  KVM_CREATE_DEVICE_TEST,
  KVM_PMU_EVENT_FILTER_MAX_EVENTS,
  KvmClockData,
  KvmPmuEventFilter,
} from './abi/vm.js'
import { DeviceFd } from './device-fd.js'
import type { EventFd } from './event-fd.js'
import { checkInteger, checkUint64 } from './fd.js'
import { StatsFd } from './stats-fd.js'
import { VcpuFd } from './vcpu-fd.js'
import { VmInterrupts } from './vm-interrupts.js'

export type { IoeventfdOptions } from './vm-interrupts.js'
export type { UserMemoryRegion, UserMemoryRegion2 } from './vm-memory.js'

/** MSRs whose accesses a filter decides: {@link VmFd.setMsrFilter}. */
export interface MsrFilterRange {
  /** KVM_MSR_FILTER_READ, KVM_MSR_FILTER_WRITE, or both. */
  flags: number
  /** The first MSR. */
  base: number
  /** How many MSRs, at most 12,288. */
  count: number
  /** A bit for each, MSR `base + n` as bit n % 8 of byte n / 8: 1 allows, 0 denies. */
  bitmap: Uint8Array
}

/** What {@link VmFd.setPmuEventFilter} takes. */
export interface PmuEventFilter {
  /** KVM_PMU_EVENT_ALLOW or KVM_PMU_EVENT_DENY. */
  action: number
  /** At most 300 of them. */
  events: readonly bigint[]
  /** Which of the fixed counters it holds for, a bit for each: none unless told. */
  fixedCounterBitmap?: number
  /** KVM_PMU_EVENT_FLAG_MASKED_EVENTS, or 0, as it is unless told. */
  flags?: number
}

const UINT32 = 0xffff_ffff

/**
 * A virtual machine's descriptor (KVM API section 4). Belongs to the thread that made it.
 * `close()` leaves vCPUs and devices usable: the kernel's VM goes with the last of its descriptors.
 * Every method throws `ERR_CLOSED` after `close()`, and KvmError when the kernel refuses.
 */
export class VmFd extends VmInterrupts {
  /** KVM_CREATE_VCPU. `id` is the APIC id, below KVM_CAP_MAX_VCPU_ID. */
  createVcpu(id: number): VcpuFd {
    // "If KVM_CAP_MAX_VCPU_ID does not exist", says the API, the limit is that of KVM_CAP_MAX_VCPUS, 4 at the least.
    checkInteger(id, 'KVM_CREATE_VCPU id', 0, (this.checkExtension(KVM_CAP_MAX_VCPU_ID) || 4) - 1)
    return new VcpuFd(this.native.createVcpu(id))
  }

  /** KVM_SET_BOOT_CPU_ID: which vCPU starts; before the first vCPU is made. */
  setBootCpuId(id: number): void {
    checkInteger(id, 'KVM_SET_BOOT_CPU_ID id', 0, UINT32)
    this.native.ioctl(request.KVM_SET_BOOT_CPU_ID, id)
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

  /** KVM_SET_DEVICE_ATTR on the VM. */
  setDeviceAttr(group: number, attribute: number, bytes?: Uint8Array): void {
    this.native.deviceAttr(request.KVM_SET_DEVICE_ATTR, group, attribute, 0, bytes)
  }

  /** KVM_GET_CLOCK: kvmclock, and with its flags the host's real time and TSC at that moment. */
  getClock(): KvmClockData {
    return this.get(request.KVM_GET_CLOCK, new KvmClockData())
  }

  /** KVM_SET_CLOCK. With KVM_CLOCK_REALTIME the clock is moved on by the real time that passed since. */
  setClock(clock: InitOfStruct<typeof KvmClockData>): void {
    this.set(request.KVM_SET_CLOCK, KvmClockData.from(clock))
  }

  /** KVM_GET_TSC_KHZ on the VM (KVM_CAP_VM_TSC_CONTROL): the rate that new vCPUs get. */
  getTscKhz(): number {
    return this.native.ioctl(request.KVM_GET_TSC_KHZ)
  }

  /** KVM_SET_TSC_KHZ on the VM; before the first vCPU is made. */
  setTscKhz(khz: number): void {
    checkInteger(khz, 'KVM_SET_TSC_KHZ khz', 0, UINT32)
    this.native.ioctl(request.KVM_SET_TSC_KHZ, khz)
  }

  /**
   * KVM_X86_SET_MSR_FILTER: which MSRs the guest may access, at most 16 ranges. `defaultDeny` denies those in no range.
   * What is denied raises #GP in the guest, or exits where KVM_CAP_X86_USER_SPACE_MSR has KVM_MSR_EXIT_REASON_FILTER.
   */
  setMsrFilter(ranges: readonly MsrFilterRange[], defaultDeny = false): void {
    const name = 'KVM_X86_SET_MSR_FILTER'
    checkInteger(ranges.length, `${name} ranges.length`, 0, KVM_MSR_FILTER_MAX_RANGES)
    const parts = ranges.map(({ flags, base, count, bitmap }, index) => {
      checkInteger(flags, `${name} ranges[${index}].flags`, 0, UINT32)
      checkInteger(base, `${name} ranges[${index}].base`, 0, UINT32)
      checkInteger(count, `${name} ranges[${index}].count`, 0, KVM_MSR_FILTER_MAX_BITMAP_SIZE * 8)
      return [flags, base, count, bitmap] as const
    })
    this.native.setMsrFilter(defaultDeny ? 1 : 0, parts)
  }

  /** KVM_SET_PMU_EVENT_FILTER: which performance events the guest may count. */
  setPmuEventFilter(filter: PmuEventFilter): void {
    const { action, events, fixedCounterBitmap = 0, flags = 0 } = filter
    const name = 'KVM_SET_PMU_EVENT_FILTER'
    checkInteger(events.length, `${name} events.length`, 0, KVM_PMU_EVENT_FILTER_MAX_EVENTS)
    for (const [index, event] of events.entries()) checkUint64(event, `${name} events[${index}]`)
    const bytes = new Uint8Array(KvmPmuEventFilter.size + events.length * 8)
    const header = {
      action,
      nevents: events.length,
      fixed_counter_bitmap: fixedCounterBitmap,
      flags,
    }
    new KvmPmuEventFilter(bytes).assign(header)
    new BigUint64Array(bytes.buffer, KvmPmuEventFilter.size).set(events)
    this.native.ioctl(request.KVM_SET_PMU_EVENT_FILTER, bytes)
  }

  /** KVM_GET_STATS_FD: the VM's statistics. */
  stats(): StatsFd {
    return new StatsFd(this.native.stats())
  }

  /** KVM_HYPERV_EVENTFD: the guest's HvCallSignalEvent of a connection raises `event`; null ends that. */
  hypervEventfd(connectionId: number, event: EventFd | null): void {
    checkInteger(connectionId, 'KVM_HYPERV_EVENTFD conn_id', 0, KVM_HYPERV_CONN_ID_MASK)
    const flags = event ? 0 : KVM_HYPERV_EVENTFD_DEASSIGN
    this.native.hypervEventfd(event?.native ?? null, connectionId, flags)
  }

  /**
   * KVM_XEN_HVM_CONFIG: KVM_XEN_HVM_CONFIG_* as `flags`, the MSR that asks for a hypercall page, and those pages for
   * 32-bit and 64-bit guests (whole pages, absent with KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL).
   */
  xenHvmConfig(flags: number, msr: number, blob32?: Uint8Array, blob64?: Uint8Array): void {
    this.native.xenHvmConfig(flags, msr, blob32 ?? null, blob64 ?? null)
  }

  /** KVM_XEN_HVM_GET_ATTR of one KVM_XEN_ATTR_TYPE_*. */
  xenGetAttr(type: number): KvmXenHvmAttr {
    return this.get(request.KVM_XEN_HVM_GET_ATTR, KvmXenHvmAttr.from({ type }))
  }

  /** KVM_XEN_HVM_SET_ATTR. */
  xenSetAttr(attribute: InitOfStruct<typeof KvmXenHvmAttr>): void {
    this.set(request.KVM_XEN_HVM_SET_ATTR, KvmXenHvmAttr.from(attribute))
  }

  /** KVM_XEN_HVM_SET_ATTR with KVM_XEN_ATTR_TYPE_SHARED_INFO_HVA: the shared info page at a place in a mapping. */
  xenSetSharedInfo(mapping: NativeMapping, offset: number): void {
    this.native.xenSharedInfoHva(mapping, offset)
  }

  /** KVM_XEN_HVM_EVTCHN_SEND: raises an event channel. */
  xenEvtchnSend(event: InitOfStruct<typeof KvmIrqRoutingXenEvtchn>): void {
    this.set(request.KVM_XEN_HVM_EVTCHN_SEND, KvmIrqRoutingXenEvtchn.from(event))
  }

  /**
   * KVM_MEMORY_ENCRYPT_OP: `command` is the 24 bytes of `struct kvm_sev_cmd` or `struct kvm_tdx_cmd`, whose `data`
   * becomes the address of `data`. Each `[offset, bytes]` of `pointers` puts the address of those bytes into `data`.
   * All of them are written back, also when it throws.
   */
  memoryEncryptOp(
    command: Uint8Array,
    data?: Uint8Array,
    pointers?: readonly (readonly [offset: number, bytes: Uint8Array])[],
  ): number {
    return this.native.memoryEncryptOp(command, data, pointers)
  }

  /** KVM_MEMORY_ENCRYPT_REG_REGION: memory that may hold the guest's encrypted pages. */
  memoryEncryptRegRegion(mapping: NativeMapping, offset = 0, size?: number): void {
    this.#memoryEncryptRegion(true, mapping, offset, size)
  }

  /** KVM_MEMORY_ENCRYPT_UNREG_REGION. */
  memoryEncryptUnregRegion(mapping: NativeMapping, offset = 0, size?: number): void {
    this.#memoryEncryptRegion(false, mapping, offset, size)
  }

  #memoryEncryptRegion(add: boolean, mapping: NativeMapping, offset: number, size?: number): void {
    const name = `KVM_MEMORY_ENCRYPT_${add ? 'REG' : 'UNREG'}_REGION`
    checkInteger(offset, `${name} offset`, 0, Number.MAX_SAFE_INTEGER)
    const rest = Math.max(0, mapping.size - offset)
    this.native.memoryEncryptRegion(add, mapping, offset, size ?? rest)
  }
}
