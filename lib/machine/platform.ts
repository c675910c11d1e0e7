import { physicalAddressBits } from '../arch/x86-64/cpuid.js'
import { KVM_IDENTITY_MAP_START, KVM_TSS_START } from '../arch/x86-64/layout.js'
import { Bus } from '../bus/bus.js'
import { VmmError } from '../errors.js'
import {
  KVM_CAP_BINARY_STATS_FD,
  KVM_CAP_COALESCED_PIO,
  KVM_CAP_IMMEDIATE_EXIT,
  KVM_CAP_IOEVENTFD,
  KVM_CAP_IRQCHIP,
  KVM_CAP_IRQFD,
  KVM_CAP_MAX_VCPU_ID,
  KVM_CAP_MAX_VCPUS,
  KVM_CAP_PIT2,
  KVM_CAP_SPLIT_IRQCHIP,
  KVM_CAP_USER_MEMORY,
} from '../kvm/abi/capabilities.js'
import type { CpuidEntry } from '../kvm/abi/cpuid.js'
import { Kvm } from '../kvm/kvm.js'
import type { VmFd } from '../kvm/vm-fd.js'
import type { MappedGuestMemory } from '../memory/mapping.js'
import type { Cleanup } from '../util/cleanup.js'
import { SkippingClock } from '../util/skipping-clock.js'
import type { CoalescingZones } from './device-routes.js'
import { createGuestRam } from './guest-ram.js'
import { createIrqchip, type Irqchip } from './irqchip.js'
import type { MachineConfig } from './machine-config.js'
import { checkAddressable, checkLimits } from './machine-limits.js'
import type { VmWarning } from './vm-warning.js'

const NEEDED: Readonly<Record<string, number>> = {
  KVM_CAP_IRQCHIP,
  KVM_CAP_USER_MEMORY,
  KVM_CAP_PIT2,
  KVM_CAP_IRQFD,
  KVM_CAP_IOEVENTFD,
  KVM_CAP_IMMEDIATE_EXIT,
}

/** What every device of a machine is wired to. */
export interface Platform {
  readonly vm: VmFd
  readonly memory: MappedGuestMemory
  readonly pio: Bus
  readonly mmio: Bus
  /** `undefined` without KVM_CAP_COALESCED_PIO. */
  readonly coalescing: CoalescingZones | undefined
  /** What devices tell the time by, less what passes while the vCPUs stand. */
  readonly clock: SkippingClock
  /** KVM_CAP_BINARY_STATS_FD. */
  readonly hasStats: boolean
  readonly supportedCpuid: readonly CpuidEntry[]
  /** MSRs that make up a vCPU's state. */
  readonly msrs: readonly number[]
  readonly irqchip: Irqchip
  /** What is reset with the machine, in this order. A promise is for I/O that may still write guest memory. */
  readonly resettable: { reset(): void | Promise<void> }[]
  /** A device model failed: the machine ends with that error. */
  readonly fail: (error: Error) => void
  /** Something went wrong that the machine goes on from. */
  readonly warn: (warning: VmWarning) => void
}

/**
 * A VM with memory, interrupt controllers, and buses without devices.
 * @throws VmmError `ERR_KVM_*`, `ERR_INVALID_OPTION`; KvmError
 */
export function createPlatform(
  config: MachineConfig,
  cleanup: Cleanup,
  { fail, warn }: Pick<Platform, 'fail' | 'warn'>,
): Platform {
  const kvm = Kvm.open()
  cleanup.own(kvm)
  const needed = config.irqchip === 'split' ? { ...NEEDED, KVM_CAP_SPLIT_IRQCHIP } : NEEDED
  const missing = Object.entries(needed)
    .filter(([, capability]) => kvm.checkExtension(capability) === 0)
    .map(([name]) => name)
  if (missing.length > 0) {
    throw new VmmError('ERR_KVM_UNSUPPORTED', `this host's KVM lacks ${missing.join(', ')}`)
  }
  const maxVcpus = kvm.checkExtension(KVM_CAP_MAX_VCPUS)
  checkLimits(config, maxVcpus, kvm.checkExtension(KVM_CAP_MAX_VCPU_ID) || maxVcpus)

  const supportedCpuid = kvm.getSupportedCpuid()
  checkAddressable(config, physicalAddressBits(supportedCpuid))
  const memory = cleanup.own(createGuestRam(config))
  const vm = cleanup.own(kvm.createVm())
  vm.setIdentityMapAddr(KVM_IDENTITY_MAP_START)
  vm.setTssAddr(KVM_TSS_START)
  const mmio = new Bus('mmio')
  const resettable: Platform['resettable'] = []
  const irqchip = createIrqchip(vm, config, mmio, resettable)
  memory.register(vm)
  return {
    vm,
    memory,
    pio: new Bus('pio'),
    mmio,
    irqchip,
    coalescing: kvm.checkExtension(KVM_CAP_COALESCED_PIO) > 0 ? coalescingZones(vm) : undefined,
    clock: new SkippingClock(),
    hasStats: kvm.checkExtension(KVM_CAP_BINARY_STATS_FD) > 0,
    supportedCpuid,
    msrs: kvm.getMsrIndexList(),
    resettable,
    fail,
    warn,
  }
}

/** Zones of one port each. */
export function coalescingZones(vm: VmFd): CoalescingZones {
  const zone = (port: number) => ({ addr: port, size: 1, pio: 1 })
  return {
    register: (port) => vm.registerCoalescedMmio(zone(port)),
    unregister: (port) => vm.unregisterCoalescedMmio(zone(port)),
  }
}
