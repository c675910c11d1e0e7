import { getSystemErrorName } from 'node:util'
import type { NativeVcpu } from '../binding.js'
import { KvmError } from '../errors.js'
import type { InitOfStruct } from '../util/struct.js'
import type { CpuidEntry } from './abi/cpuid.js'
import { KVM_EXIT_INTR, KVM_EXIT_MEMORY_FAULT } from './abi/exits.js'
import * as request from './abi/ioctls.js'
import { KVM_MAX_IO_MSRS, type MsrEntry } from './abi/msrs.js'
import {
  KVM_APIC_REG_SIZE,
  KvmDebugregs,
  KvmFpu,
  KvmRegs,
  KvmSregs,
  KvmSregs2,
  KvmXcrs,
} from './abi/registers.js'
import { KvmInterrupt, KvmMpState, KvmVcpuEvents } from './abi/vcpu-state.js'
import { KvmEnableCap } from './abi/vm.js'
import { checkInteger, Fd } from './fd.js'
import {
  bytesOf,
  checkMsrsDone,
  decodeCpuid,
  decodeMsrs,
  encodeCpuid,
  encodeMsrs,
  readList,
} from './lists.js'
import { RunPage } from './run-page.js'

/**
 * A vCPU's descriptor (KVM API section 4). Every method throws `ERR_VCPU_RUNNING` while another thread is inside
 * KVM_RUN on it, and `ERR_CLOSED` after `close()`.
 */
export class VcpuFd extends Fd<NativeVcpu> {
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

  /** KVM_GET_REGS. */
  getRegs(): KvmRegs {
    return this.get(request.KVM_GET_REGS, new KvmRegs())
  }

  /** KVM_SET_REGS. Registers left out become 0. */
  setRegs(regs: InitOfStruct<typeof KvmRegs>): void {
    this.set(request.KVM_SET_REGS, KvmRegs.from(regs))
  }

  getSregs(): KvmSregs {
    return this.get(request.KVM_GET_SREGS, new KvmSregs())
  }

  /** KVM_SET_SREGS. What is left out becomes 0: start from {@link getSregs}. */
  setSregs(sregs: InitOfStruct<typeof KvmSregs>): void {
    this.set(request.KVM_SET_SREGS, KvmSregs.from(sregs))
  }

  getSregs2(): KvmSregs2 {
    return this.get(request.KVM_GET_SREGS2, new KvmSregs2())
  }

  setSregs2(sregs: InitOfStruct<typeof KvmSregs2>): void {
    this.set(request.KVM_SET_SREGS2, KvmSregs2.from(sregs))
  }

  getFpu(): KvmFpu {
    return this.get(request.KVM_GET_FPU, new KvmFpu())
  }

  setFpu(fpu: InitOfStruct<typeof KvmFpu>): void {
    this.set(request.KVM_SET_FPU, KvmFpu.from(fpu))
  }

  getXcrs(): KvmXcrs {
    return this.get(request.KVM_GET_XCRS, new KvmXcrs())
  }

  setXcrs(xcrs: InitOfStruct<typeof KvmXcrs>): void {
    this.set(request.KVM_SET_XCRS, KvmXcrs.from(xcrs))
  }

  getDebugregs(): KvmDebugregs {
    return this.get(request.KVM_GET_DEBUGREGS, new KvmDebugregs())
  }

  setDebugregs(debugregs: InitOfStruct<typeof KvmDebugregs>): void {
    this.set(request.KVM_SET_DEBUGREGS, KvmDebugregs.from(debugregs))
  }

  /**
   * KVM_GET_MSRS: the values of at most 256 MSRs, in the order asked for.
   * @throws VmmError `ERR_KVM_UNSUPPORTED` naming the first that the vCPU has not.
   */
  getMsrs(indices: readonly number[]): bigint[] {
    const entries = indices.map((index) => ({ index }))
    const view = encodeMsrs(entries, 'KVM_GET_MSRS', KVM_MAX_IO_MSRS)
    checkMsrsDone('KVM_GET_MSRS', this.native.ioctl(request.KVM_GET_MSRS, bytesOf(view)), indices)
    return decodeMsrs(view)
  }

  /**
   * KVM_SET_MSRS of at most 256.
   * @throws VmmError `ERR_KVM_UNSUPPORTED` naming the first that was refused; those before it are set.
   */
  setMsrs(entries: readonly MsrEntry[]): void {
    const view = encodeMsrs(entries, 'KVM_SET_MSRS', KVM_MAX_IO_MSRS)
    const done = this.native.ioctl(request.KVM_SET_MSRS, bytesOf(view))
    checkMsrsDone(
      'KVM_SET_MSRS',
      done,
      entries.map((entry) => entry.index),
    )
  }

  /** KVM_SET_CPUID2: what CPUID gives the guest, at most 256 entries; before the first run. */
  setCpuid2(entries: readonly CpuidEntry[]): void {
    this.native.ioctl(request.KVM_SET_CPUID2, encodeCpuid(entries, 'KVM_SET_CPUID2'))
  }

  getCpuid2(): CpuidEntry[] {
    return decodeCpuid(
      readList(8, 40, 128, (bytes) => this.native.ioctl(request.KVM_GET_CPUID2, bytes)),
    )
  }

  /** KVM_GET_LAPIC: the local APIC's registers, each at its offset in the register page. Needs the irqchip. */
  getLapic(): Uint8Array {
    const registers = new Uint8Array(KVM_APIC_REG_SIZE)
    this.native.ioctl(request.KVM_GET_LAPIC, registers)
    return registers
  }

  setLapic(registers: Uint8Array): void {
    this.native.ioctl(request.KVM_SET_LAPIC, registers)
  }

  /** KVM_GET_MP_STATE: one of KVM_MP_STATE_*. */
  getMpState(): number {
    return this.get(request.KVM_GET_MP_STATE, new KvmMpState()).mp_state
  }

  setMpState(state: number): void {
    this.set(request.KVM_SET_MP_STATE, KvmMpState.from({ mp_state: state }))
  }

  getVcpuEvents(): KvmVcpuEvents {
    return this.get(request.KVM_GET_VCPU_EVENTS, new KvmVcpuEvents())
  }

  setVcpuEvents(events: InitOfStruct<typeof KvmVcpuEvents>): void {
    this.set(request.KVM_SET_VCPU_EVENTS, KvmVcpuEvents.from(events))
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

  /** KVM_SMI. */
  smi(): void {
    this.native.ioctl(request.KVM_SMI)
  }

  /** KVM_GET_TSC_KHZ. */
  getTscKhz(): number {
    return this.native.ioctl(request.KVM_GET_TSC_KHZ)
  }

  setTscKhz(khz: number): void {
    checkInteger(khz, 'KVM_SET_TSC_KHZ', 0, 0xffffffff)
    this.native.ioctl(request.KVM_SET_TSC_KHZ, khz)
  }

  /** KVM_ENABLE_CAP on the vCPU, with up to 4 arguments. */
  enableCap(capability: number, args: readonly bigint[] = [], flags = 0): void {
    this.set(request.KVM_ENABLE_CAP, KvmEnableCap.from({ cap: capability, flags, args }))
  }

  /** Closes the descriptor and detaches the run page. @throws VmmError `ERR_VCPU_RUNNING` while it runs. */
  override close(): void {
    super.close()
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
