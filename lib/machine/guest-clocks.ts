import { MSR_IA32_TSC } from '../arch/x86-64/msrs.js'
import { KvmError } from '../errors.js'
import { KVM_CAP_KVMCLOCK_CTRL } from '../kvm/abi/capabilities.js'
import { KVM_VCPU_TSC_CTRL, KVM_VCPU_TSC_OFFSET } from '../kvm/abi/vm.js'
import type { VcpuFd } from '../kvm/vcpu-fd.js'
import type { VmFd } from '../kvm/vm-fd.js'
import type { SkippingClock } from '../util/skipping-clock.js'

interface Stopped {
  readonly kvmclock: bigint
  /** The first vCPU's TSC. */
  readonly tsc: bigint
  readonly at: bigint
}

/**
 * Stops what a guest tells the time by while its vCPUs do not run, so that for the guest no time passes: kvmclock, the TSC
 * where KVM can set its offset, and the ACPI PM timer, which a guest compares the TSC with. The real-time clock goes on.
 */
export class GuestClocks {
  readonly #vm: VmFd
  readonly #vcpus: readonly VcpuFd[]
  readonly #devices: SkippingClock
  readonly #tellsPause: boolean
  #setsTsc: boolean
  #stopped: Stopped | undefined

  /** @param devices what devices tell the time by */
  constructor(vm: VmFd, vcpus: readonly VcpuFd[], devices: SkippingClock) {
    this.#vm = vm
    this.#vcpus = vcpus
    this.#devices = devices
    this.#setsTsc = vcpus[0]!.hasDeviceAttr(KVM_VCPU_TSC_CTRL, KVM_VCPU_TSC_OFFSET)
    this.#tellsPause = vm.checkExtension(KVM_CAP_KVMCLOCK_CTRL) > 0
  }

  /** Whether the TSC stands too. */
  get setsTsc(): boolean {
    return this.#setsTsc
  }

  /** No vCPU runs any more. Does nothing if the clocks stand. */
  stop(): void {
    if (this.#stopped !== undefined) return
    const kvmclock = this.#vm.getClock().clock
    this.#stopped = { kvmclock, tsc: this.#tsc(), at: process.hrtime.bigint() }
  }

  /** The vCPUs are about to run. Does nothing if the clocks go. */
  start(): void {
    if (this.#stopped === undefined) return
    const { kvmclock, tsc, at } = this.#stopped
    this.#stopped = undefined
    if (this.#setsTsc) this.#setsTsc = this.#moveTsc(tsc - this.#tsc())
    // If the TSC goes on, this had better, too: a difference is taken for a fault of the TSC.
    if (this.#setsTsc) this.#devices.skip(process.hrtime.bigint() - at)
    this.#vm.setClock({ clock: kvmclock })
    if (this.#tellsPause) for (const vcpu of this.#vcpus) tellPause(vcpu)
  }

  #tsc(): bigint {
    return this.#vcpus[0]!.getMsrs([MSR_IA32_TSC])[0]!
  }

  /**
   * By offsets, which leaves the vCPUs' counters as far apart as they are.
   * @returns false if KVM took no notice, as one in software does
   */
  #moveTsc(ticks: bigint): boolean {
    return this.#vcpus.every((vcpu) => {
      const offset = BigInt.asUintN(64, tscOffset(vcpu) + ticks)
      const bytes = new Uint8Array(BigUint64Array.of(offset).buffer)
      vcpu.setDeviceAttr(KVM_VCPU_TSC_CTRL, KVM_VCPU_TSC_OFFSET, bytes)
      return tscOffset(vcpu) === offset
    })
  }
}

function tscOffset(vcpu: VcpuFd): bigint {
  const bytes = vcpu.getDeviceAttr(KVM_VCPU_TSC_CTRL, KVM_VCPU_TSC_OFFSET)
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getBigUint64(0, true)
}

/** So that the guest's watchdogs look away once. EINVAL tells that the guest has no kvmclock. */
function tellPause(vcpu: VcpuFd): void {
  try {
    vcpu.kvmclockCtrl()
  } catch (error) {
    if (!(error instanceof KvmError && error.code === 'EINVAL')) throw error
  }
}
