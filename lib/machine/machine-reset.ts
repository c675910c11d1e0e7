import { KvmError } from '../errors.js'
import {
  KVM_IRQCHIP_IOAPIC,
  KVM_IRQCHIP_PIC_MASTER,
  KVM_IRQCHIP_PIC_SLAVE,
} from '../kvm/abi/interrupts.js'
import type { VcpuFd } from '../kvm/vcpu-fd.js'
import type { VmFd } from '../kvm/vm-fd.js'
import type { GuestMemory } from '../memory/guest-memory.js'
import type { Platform } from './platform.js'
import { vcpuReset } from './vcpu-reset.js'

/** Bytes cleared at once where pages cannot be given back. */
const CLEAR_STEP = 2 ** 30

/**
 * Takes down what a machine's processors, interrupt controllers and timer are before its first instruction.
 * @returns what puts the whole machine back to that: devices, memory (all zeroes), chips and vCPUs. No vCPU may run then.
 */
export function machineReset(platform: Platform, vcpus: readonly VcpuFd[]): () => Promise<void> {
  const { vm, memory, resettable, msrs, irqchip } = platform
  // The IOAPIC of this process is among the devices.
  const resetChips = irqchip.ioapic ? () => {} : chipsReset(vm)
  const resetVcpus = vcpus.map((vcpu) => vcpuReset(vm, vcpu, msrs))
  return async () => {
    await Promise.all(resettable.map((device) => device.reset()))
    clear(memory)
    // After the devices, which have let go of their lines.
    resetChips()
    for (const reset of resetVcpus) reset()
  }
}

function chipsReset(vm: VmFd): () => void {
  const chips = [KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, KVM_IRQCHIP_IOAPIC].map((chip) =>
    vm.getIrqchip(chip),
  )
  const pit = vm.getPit2()
  return () => {
    for (const chip of chips) vm.setIrqchip(chip)
    vm.setPit2(pit)
  }
}

/** Pages that are locked, or are huge, are not given back. */
function discarded(discard: () => void): boolean {
  try {
    discard()
    return true
  } catch (error) {
    if (error instanceof KvmError && error.code === 'EINVAL') return false
    throw error
  }
}

function clear(memory: GuestMemory): void {
  // Hot-pluggable memory has gone back to the host by now.
  for (const { guestAddress, size, discard } of memory.ram) {
    if (discard && discarded(() => discard(0, size))) continue
    for (let at = 0; at < size; at += CLEAR_STEP) {
      memory.fill(guestAddress + at, Math.min(CLEAR_STEP, size - at))
    }
  }
}
