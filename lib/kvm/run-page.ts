import { VmmError } from '../errors.js'
import { keepFromTransfer } from '../util/untransferable.js'
import * as reason from './abi/exits.js'
import { KvmRun } from './abi/run.js'
import { decodeExit } from './decode-exit.js'
import type { VcpuExit } from './exit.js'

const at = {
  requestInterruptWindow: KvmRun.fields.request_interrupt_window.offset,
  immediateExit: KvmRun.fields.immediate_exit.offset,
  exitReason: KvmRun.fields.exit_reason.offset >> 2,
  readyForInterruptInjection: KvmRun.fields.ready_for_interrupt_injection.offset,
  ifFlag: KvmRun.fields.if_flag.offset,
  flags: KvmRun.fields.flags.offset >> 1,
  cr8: KvmRun.fields.cr8.offset >> 3,
  apicBase: KvmRun.fields.apic_base.offset >> 3,
  /** Where the union of exit data begins. */
  exit: KvmRun.fields.io.offset,
}

/**
 * A vCPU's run page, read in place: no getter here allocates, apart from those of bigints. What a getter returns counts
 * only after an exit of its kind; for people there is {@link RunPage.exit}.
 * Not to be used while the vCPU runs, nor after `vcpu.close()` (numbers are undefined then).
 */
export class RunPage {
  /** The page and what follows it: PIO data, the coalesced ring. */
  readonly bytes: Uint8Array
  /** The page as 16-bit values. */
  readonly u16: Uint16Array
  /** The page as 32-bit values. */
  readonly u32: Uint32Array
  /** The page as 64-bit values. */
  readonly u64: BigUint64Array
  /** The page as what reads and writes at any offset. */
  readonly view: DataView
  /** Every field by its C name. Reading one makes an object: not for hot paths. */
  readonly struct: KvmRun

  constructor(buffer: ArrayBuffer) {
    keepFromTransfer(buffer)
    this.bytes = new Uint8Array(buffer)
    this.u16 = new Uint16Array(buffer)
    this.u32 = new Uint32Array(buffer)
    this.u64 = new BigUint64Array(buffer)
    this.view = new DataView(buffer)
    this.struct = new KvmRun(this.bytes)
  }

  /** One of KVM_EXIT_*. */
  get exitReason(): number {
    return this.u32[at.exitReason]!
  }
  set exitReason(reason: number) {
    this.u32[at.exitReason] = reason
  }

  /** Makes KVM_RUN return at once with EINTR while set. */
  set immediateExit(on: boolean) {
    this.bytes[at.immediateExit] = on ? 1 : 0
  }
  get immediateExit(): boolean {
    return this.bytes[at.immediateExit] !== 0
  }

  /** Asks for KVM_EXIT_IRQ_WINDOW_OPEN as soon as an interrupt could be injected (without in-kernel irqchip). */
  set requestInterruptWindow(on: boolean) {
    this.bytes[at.requestInterruptWindow] = on ? 1 : 0
  }
  /** Whether KVM_INTERRUPT may be used now. */
  get readyForInterruptInjection(): boolean {
    return this.bytes[at.readyForInterruptInjection] !== 0
  }
  /** The guest's RFLAGS.IF (without in-kernel irqchip). */
  get ifFlag(): boolean {
    return this.bytes[at.ifFlag] !== 0
  }
  /** KVM_RUN_X86_SMM, KVM_RUN_X86_BUS_LOCK, KVM_RUN_X86_GUEST_MODE. */
  get flags(): number {
    return this.u16[at.flags]!
  }
  /** The guest's task priority, where no interrupt controller is in the kernel. */
  get cr8(): bigint {
    return this.u64[at.cr8]!
  }
  set cr8(value: bigint) {
    this.u64[at.cr8] = value
  }
  /** The guest's MSR IA32_APIC_BASE, likewise. */
  get apicBase(): bigint {
    return this.u64[at.apicBase]!
  }
  set apicBase(value: bigint) {
    this.u64[at.apicBase] = value
  }

  // KVM_EXIT_IO

  /** True for `in`: the data is to be filled in before the next run. */
  get ioIsIn(): boolean {
    return this.bytes[at.exit] === reason.KVM_EXIT_IO_IN
  }
  /** Bytes of one access: 1, 2 or 4. */
  get ioSize(): number {
    return this.bytes[at.exit + 1]!
  }
  /** 0 to 65535. */
  get ioPort(): number {
    return this.u16[(at.exit + 2) >> 1]!
  }
  /** Accesses of `ioSize` bytes one after the other: more than 1 for string instructions. */
  get ioCount(): number {
    return this.u32[(at.exit + 4) >> 2]!
  }
  /** Where the data of access number `index` lies in `bytes`, a multiple of `ioSize`. */
  ioDataOffset(index = 0): number {
    // The kernel's offset is one page or so: its upper half is 0.
    return this.u32[(at.exit + 8) >> 2]! + index * this.ioSize
  }
  /** The data of one access as a number. */
  ioData(index = 0): number {
    const offset = this.ioDataOffset(index)
    const size = this.ioSize
    if (size === 1) return this.bytes[offset]!
    return size === 2 ? this.u16[offset >> 1]! : this.u32[offset >> 2]!
  }
  /** Answers one access of an `in`. Bits beyond its size are cut off. */
  setIoData(value: number, index = 0): void {
    const offset = this.ioDataOffset(index)
    const size = this.ioSize
    if (size === 1) this.bytes[offset] = value
    else if (size === 2) this.u16[offset >> 1] = value
    else this.u32[offset >> 2] = value
  }

  // KVM_EXIT_MMIO

  /** Guest-physical; exact below 2^53. */
  get mmioAddress(): number {
    return this.u32[(at.exit + 4) >> 2]! * 0x1_0000_0000 + this.u32[at.exit >> 2]!
  }
  /** Bytes: 1 to 8. */
  get mmioLength(): number {
    return this.u32[(at.exit + 16) >> 2]!
  }
  /** Whether the guest writes. */
  get mmioIsWrite(): boolean {
    return this.bytes[at.exit + 20] !== 0
  }
  /** Where the 8 bytes of data lie in `bytes`. */
  get mmioDataOffset(): number {
    return at.exit + 8
  }
  /** The lower 4 bytes of the data, cut to `mmioLength`. */
  get mmioData(): number {
    const length = this.mmioLength
    if (length === 1) return this.bytes[at.exit + 8]!
    return length === 2 ? this.u16[(at.exit + 8) >> 1]! : this.u32[(at.exit + 8) >> 2]!
  }
  /** Answers a read of up to 4 bytes. */
  set mmioData(value: number) {
    this.u32[(at.exit + 8) >> 2] = value
    this.u32[(at.exit + 12) >> 2] = 0
  }
  /** The 8 bytes that are, or are to be, transferred. */
  get mmioData64(): bigint {
    return this.u64[(at.exit + 8) >> 3]!
  }
  set mmioData64(value: bigint) {
    this.u64[(at.exit + 8) >> 3] = value
  }

  // KVM_EXIT_X86_RDMSR, KVM_EXIT_X86_WRMSR

  /** Which MSR. */
  get msrIndex(): number {
    return this.u32[(at.exit + 12) >> 2]!
  }
  /** KVM_MSR_EXIT_REASON_*. */
  get msrReason(): number {
    return this.u32[(at.exit + 8) >> 2]!
  }
  get msrData(): bigint {
    return this.u64[(at.exit + 16) >> 3]!
  }
  /** Answers an RDMSR. */
  set msrData(value: bigint) {
    this.u64[(at.exit + 16) >> 3] = value
  }
  /** True injects #GP into the guest. */
  set msrError(error: boolean) {
    this.bytes[at.exit] = error ? 1 : 0
  }

  /** KVM_EXIT_IOAPIC_EOI: the vector. */
  get eoiVector(): number {
    return this.bytes[at.exit]!
  }

  /** KVM_EXIT_HYPERCALL: the guest's result. */
  set hypercallResult(value: bigint) {
    this.u64[(at.exit + 56) >> 3] = value
  }

  /**
   * The last exit as a plain object that TypeScript narrows by `reason`. Data of `in`, MMIO reads and RDMSR is answered
   * by the setters of this class before the next run.
   * @throws VmmError `ERR_CLOSED` after `vcpu.close()`.
   */
  exit(): VcpuExit {
    if (this.bytes.byteLength === 0) throw new VmmError('ERR_CLOSED', 'the vCPU is closed')
    return decodeExit(this)
  }
}
