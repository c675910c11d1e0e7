import { getSystemErrorName } from 'node:util'
import type { NativeMapping, NativeVcpu } from '../binding.js'
import { KvmError } from '../errors.js'
import type { InitOfStruct } from '../util/struct.js'
import type { CpuidEntry } from './abi/cpuid.js'
import { KVM_EXIT_INTR, KVM_EXIT_MEMORY_FAULT } from './abi/exits.js'
import { KvmXenVcpuAttr } from './abi/hyperv-xen.js'
import * as request from './abi/ioctls.js'
import { KvmPreFaultMemory } from './abi/memory.js'
import {
  KvmGuestDebug,
  KvmInterrupt,
  KvmTprAccessCtl,
  KvmTranslation,
  KvmVapicAddr,
  KvmX86Mce,
} from './abi/vcpu-state.js'
import { KvmEnableCap } from './abi/vm.js'
import { CoalescedRing } from './coalesced-ring.js'
import { DirtyRing } from './dirty-ring.js'
import { checkInteger } from './fd.js'
import { bytesOf, decodeCpuid, readList } from './lists.js'
import { RunPage } from './run-page.js'
import { StatsFd } from './stats-fd.js'
import { VcpuState } from './vcpu-state.js'

/**
 * A vCPU's descriptor (KVM API section 4). Every method throws `ERR_VCPU_RUNNING` while another thread is inside
 * KVM_RUN on it, and `ERR_CLOSED` after `close()`; KvmError when the kernel refuses.
 */
export class VcpuFd extends VcpuState {
  /** Where KVM_RUN takes and leaves its data. */
  readonly runPage: RunPage
  readonly #run: () => number

  constructor(native: NativeVcpu) {
    super(native)
    this.runPage = new RunPage(native.runPage)
    this.#run = native.run
  }

  /**
   * KVM_RUN on this thread: lets the guest run until it needs this process, and returns why, a KVM_EXIT_*. The details
   * are in {@link runPage}; the exit is answered by writing there and calling `run()` again.
   *
   * Returns KVM_EXIT_INTR, which means no more than "call again", when a signal came, when `immediateExit` was set,
   * and at least ten times a second, so that `worker.terminate()` and `process.exit()` never wait for a guest.
   * The event loop stands still meanwhile: a machine with devices wants a thread for each vCPU instead.
   * @throws KvmError for what KVM_RUN cannot go on from.
   */
  run(): number {
    const result = this.#run()
    return result === 0 ? this.runPage.exitReason : this.#failed(-result)
  }

  /** KVM_INTERRUPT: queues an interrupt by its vector (without in-kernel irqchip, or with the split one). */
  interrupt(vector: number): void {
    checkInteger(vector, 'KVM_INTERRUPT irq', 0, 255)
    this.set(request.KVM_INTERRUPT, KvmInterrupt.from({ irq: vector }))
  }

  /** KVM_NMI. */
  nmi(): void {
    this.native.ioctl(request.KVM_NMI)
  }

  /** KVM_SMI (KVM_CAP_X86_SMM). */
  smi(): void {
    this.native.ioctl(request.KVM_SMI)
  }

  /** KVM_TRANSLATE: a linear address by the guest's present page tables. */
  translate(linearAddress: bigint): KvmTranslation {
    return this.get(request.KVM_TRANSLATE, KvmTranslation.from({ linear_address: linearAddress }))
  }

  /** KVM_SET_GUEST_DEBUG: single steps, breakpoints; `{ control: 0 }` ends it. */
  setGuestDebug(debug: InitOfStruct<typeof KvmGuestDebug>): void {
    this.set(request.KVM_SET_GUEST_DEBUG, KvmGuestDebug.from(debug))
  }

  /**
   * KVM_SET_SIGNAL_MASK: the signals blocked inside KVM_RUN, signal n as bit n - 1; null for the thread's own mask.
   * The library's own kick signal is never blocked.
   */
  setSignalMask(mask: bigint | null): void {
    this.native.setSignalMask(mask)
  }

  /** KVM_TPR_ACCESS_REPORTING: whether the guest's accesses to the TPR exit with KVM_EXIT_TPR_ACCESS. */
  setTprAccessReporting(enabled: boolean): void {
    const control = KvmTprAccessCtl.from({ enabled: enabled ? 1 : 0 })
    this.set(request.KVM_TPR_ACCESS_REPORTING, control)
  }

  /** KVM_SET_VAPIC_ADDR: where in guest memory KVM mirrors the TPR; 0 for nowhere. */
  setVapicAddr(guestAddress: number): void {
    this.set(request.KVM_SET_VAPIC_ADDR, KvmVapicAddr.from({ vapic_addr: guestAddress }))
  }

  /** KVM_X86_SETUP_MCE with MCG_CAP: the number of banks and the bits of {@link Kvm.getMceCapSupported}. */
  setupMce(mcgCap: bigint): void {
    const view = new DataView(new ArrayBuffer(8))
    view.setBigUint64(0, mcgCap, true)
    this.native.ioctl(request.KVM_X86_SETUP_MCE, bytesOf(view))
  }

  /** KVM_X86_SET_MCE: injects a machine check. */
  setMce(mce: InitOfStruct<typeof KvmX86Mce>): void {
    this.set(request.KVM_X86_SET_MCE, KvmX86Mce.from(mce))
  }

  /** KVM_KVMCLOCK_CTRL: tells the guest's soft-lockup detector that it was paused. EINVAL without kvmclock. */
  kvmclockCtrl(): void {
    this.native.ioctl(request.KVM_KVMCLOCK_CTRL)
  }

  /** KVM_ENABLE_CAP on the vCPU, with up to 4 arguments. */
  enableCap(capability: number, args: readonly bigint[] = [], flags = 0): void {
    this.set(request.KVM_ENABLE_CAP, KvmEnableCap.from({ cap: capability, flags, args }))
  }

  /** KVM_GET_SUPPORTED_HV_CPUID: Hyper-V's leaves, for this vCPU's settings. */
  getSupportedHvCpuid(): CpuidEntry[] {
    const call = (bytes: Uint8Array) => this.native.ioctl(request.KVM_GET_SUPPORTED_HV_CPUID, bytes)
    return decodeCpuid(readList(8, 40, 64, call))
  }

  /**
   * KVM_PRE_FAULT_MEMORY: maps guest memory before the guest touches it. What was left undone when a signal came is
   * in `gpa` and `size` of the result.
   */
  preFaultMemory(range: InitOfStruct<typeof KvmPreFaultMemory>): KvmPreFaultMemory {
    const { gpa, size, flags } = KvmPreFaultMemory.from(range)
    return this.get(request.KVM_PRE_FAULT_MEMORY, KvmPreFaultMemory.from({ gpa, size, flags }))
  }

  /** The vCPU's dirty ring (`vm.enableDirtyRing()` first). @throws KvmError `ENXIO` without one. */
  dirtyRing(): DirtyRing {
    return new DirtyRing(this.native.dirtyRing())
  }

  /** The ring of coalesced writes: one for the whole VM, which every vCPU maps. */
  coalescedRing(): CoalescedRing {
    return new CoalescedRing(this.runPage.bytes.buffer as ArrayBuffer)
  }

  /** KVM_GET_STATS_FD: this vCPU's statistics. */
  stats(): StatsFd {
    return new StatsFd(this.native.stats())
  }

  /** KVM_XEN_VCPU_GET_ATTR of one KVM_XEN_VCPU_ATTR_TYPE_*. */
  xenGetAttr(type: number): KvmXenVcpuAttr {
    return this.get(request.KVM_XEN_VCPU_GET_ATTR, KvmXenVcpuAttr.from({ type }))
  }

  /** KVM_XEN_VCPU_SET_ATTR. */
  xenSetAttr(attribute: InitOfStruct<typeof KvmXenVcpuAttr>): void {
    this.set(request.KVM_XEN_VCPU_SET_ATTR, KvmXenVcpuAttr.from(attribute))
  }

  /** KVM_XEN_VCPU_SET_ATTR with KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO_HVA: vcpu_info at a place in a mapping. */
  xenSetVcpuInfo(mapping: NativeMapping, offset: number): void {
    this.native.xenVcpuInfoHva(mapping, offset)
  }

  /**
   * KVM_MEMORY_ENCRYPT_OP on the vCPU (TDX): `command` is the 24 bytes of `struct kvm_tdx_cmd`, whose `data` becomes the
   * address of `data`. Both are written back.
   */
  memoryEncryptOp(command: Uint8Array, data?: Uint8Array): number {
    return this.native.memoryEncryptOp(command, data)
  }

  /** KVM_RUN's errors that are no errors. */
  #failed(errno: number): number {
    if (errno === EINTR || errno === EAGAIN) {
      // The kernel leaves the reason of the exit before where it returned without entering the guest.
      this.runPage.exitReason = KVM_EXIT_INTR
      return KVM_EXIT_INTR
    }
    const why = this.runPage.exitReason
    if ((errno === EFAULT || errno === EHWPOISON) && why === KVM_EXIT_MEMORY_FAULT) return why
    throw new KvmError(errnoName(errno), errno, 'KVM_RUN')
  }
}

const EINTR = 4
const EAGAIN = 11
const EFAULT = 14
const EHWPOISON = 133

function errnoName(errno: number): string {
  return errno === EHWPOISON ? 'EHWPOISON' : getSystemErrorName(-errno)
}
