import type { NativeVcpu } from '../binding.js'
import { KvmError } from '../errors.js'
import type { InitOfStruct } from '../util/struct.js'
import type { CpuidEntry } from './abi/cpuid.js'
import * as request from './abi/ioctls.js'
import { KVM_MAX_IO_MSRS, type MsrEntry } from './abi/msrs.js'
import {
  KVM_APIC_REG_SIZE,
  KVM_REG_SIZE_MASK,
  KVM_REG_SIZE_SHIFT,
  KVM_XSAVE_SIZE,
  KvmDebugregs,
  KvmFpu,
  KvmRegs,
  KvmSregs,
  KvmSregs2,
  KvmXcrs,
} from './abi/registers.js'
import { KvmMpState, KvmNestedState, KvmVcpuEvents } from './abi/vcpu-state.js'
import { checkInteger, checkUint64, Fd } from './fd.js'
import {
  bytesOf,
  checkMsrsDone,
  decodeCpuid,
  decodeMsrs,
  encodeCpuid,
  encodeLegacyCpuid,
  encodeMsrs,
  readList,
} from './lists.js'

/** The state of a vCPU: what one saves and restores. Use it as {@link VcpuFd}. */
export abstract class VcpuState extends Fd<NativeVcpu> {
  /** KVM_GET_REGS. */
  getRegs(): KvmRegs {
    return this.get(request.KVM_GET_REGS, new KvmRegs())
  }

  /** KVM_SET_REGS. Registers left out become 0. */
  setRegs(regs: InitOfStruct<typeof KvmRegs>): void {
    this.set(request.KVM_SET_REGS, KvmRegs.from(regs))
  }

  /** KVM_GET_SREGS. */
  getSregs(): KvmSregs {
    return this.get(request.KVM_GET_SREGS, new KvmSregs())
  }

  /** KVM_SET_SREGS. What is left out becomes 0: start from {@link getSregs}. */
  setSregs(sregs: InitOfStruct<typeof KvmSregs>): void {
    this.set(request.KVM_SET_SREGS, KvmSregs.from(sregs))
  }

  /** KVM_GET_SREGS2 (KVM_CAP_SREGS2): with the PDPTRs, without the interrupt bitmap. */
  getSregs2(): KvmSregs2 {
    return this.get(request.KVM_GET_SREGS2, new KvmSregs2())
  }

  /** KVM_SET_SREGS2 (KVM_CAP_SREGS2). What is left out becomes 0: start from {@link getSregs2}. */
  setSregs2(sregs: InitOfStruct<typeof KvmSregs2>): void {
    this.set(request.KVM_SET_SREGS2, KvmSregs2.from(sregs))
  }

  /** KVM_GET_FPU. */
  getFpu(): KvmFpu {
    return this.get(request.KVM_GET_FPU, new KvmFpu())
  }

  /** KVM_SET_FPU. What is left out becomes 0. */
  setFpu(fpu: InitOfStruct<typeof KvmFpu>): void {
    this.set(request.KVM_SET_FPU, KvmFpu.from(fpu))
  }

  /** KVM_GET_XSAVE: the XSAVE area of 4096 bytes, laid out as the host's CPUID leaf 0xd says. */
  getXsave(): Uint8Array {
    const area = new Uint8Array(KVM_XSAVE_SIZE)
    this.native.ioctl(request.KVM_GET_XSAVE, area)
    return area
  }

  /** KVM_GET_XSAVE2: an area of `size` bytes, what KVM_CHECK_EXTENSION(KVM_CAP_XSAVE2) on the VM says. */
  getXsave2(size: number): Uint8Array {
    checkInteger(size, 'KVM_GET_XSAVE2 size', KVM_XSAVE_SIZE, 0x10_0000)
    const area = new Uint8Array(size)
    this.native.ioctl(request.KVM_GET_XSAVE2, area)
    return area
  }

  /** KVM_SET_XSAVE with what {@link getXsave} or {@link getXsave2} returned. */
  setXsave(area: Uint8Array): void {
    this.native.ioctl(request.KVM_SET_XSAVE, area)
  }

  /** KVM_GET_XCRS. */
  getXcrs(): KvmXcrs {
    return this.get(request.KVM_GET_XCRS, new KvmXcrs())
  }

  /** KVM_SET_XCRS (KVM_CAP_XCRS). */
  setXcrs(xcrs: InitOfStruct<typeof KvmXcrs>): void {
    this.set(request.KVM_SET_XCRS, KvmXcrs.from(xcrs))
  }

  /** KVM_GET_DEBUGREGS. */
  getDebugregs(): KvmDebugregs {
    return this.get(request.KVM_GET_DEBUGREGS, new KvmDebugregs())
  }

  /** KVM_SET_DEBUGREGS. What is left out becomes 0. */
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
    const indices = entries.map((entry) => entry.index)
    checkMsrsDone('KVM_SET_MSRS', done, indices)
  }

  /** KVM_GET_CPUID2. */
  getCpuid2(): CpuidEntry[] {
    const call = (bytes: Uint8Array) => this.native.ioctl(request.KVM_GET_CPUID2, bytes)
    return decodeCpuid(readList(8, 40, 128, call))
  }

  /** KVM_SET_CPUID2: what CPUID gives the guest, at most 256 entries; before the first run. */
  setCpuid2(entries: readonly CpuidEntry[]): void {
    this.native.ioctl(request.KVM_SET_CPUID2, encodeCpuid(entries, 'KVM_SET_CPUID2'))
  }

  /** KVM_SET_CPUID: the older form, for leaves without an index. */
  setCpuid(entries: readonly Omit<CpuidEntry, 'index' | 'flags'>[]): void {
    this.native.ioctl(request.KVM_SET_CPUID, encodeLegacyCpuid(entries, 'KVM_SET_CPUID'))
  }

  /** KVM_GET_LAPIC: the local APIC's registers, each at its offset in the register page. Needs the irqchip. */
  getLapic(): Uint8Array {
    const registers = new Uint8Array(KVM_APIC_REG_SIZE)
    this.native.ioctl(request.KVM_GET_LAPIC, registers)
    return registers
  }

  /** KVM_SET_LAPIC with what {@link getLapic} returned. */
  setLapic(registers: Uint8Array): void {
    this.native.ioctl(request.KVM_SET_LAPIC, registers)
  }

  /** KVM_GET_MP_STATE: one of KVM_MP_STATE_*. Needs the irqchip. */
  getMpState(): number {
    return this.get(request.KVM_GET_MP_STATE, new KvmMpState()).mp_state
  }

  /** KVM_SET_MP_STATE: one of KVM_MP_STATE_*. Needs the irqchip. */
  setMpState(state: number): void {
    this.set(request.KVM_SET_MP_STATE, KvmMpState.from({ mp_state: state }))
  }

  /** KVM_GET_VCPU_EVENTS. */
  getVcpuEvents(): KvmVcpuEvents {
    return this.get(request.KVM_GET_VCPU_EVENTS, new KvmVcpuEvents())
  }

  /** KVM_SET_VCPU_EVENTS. `flags` says which of the optional fields count: KVM_VCPUEVENT_VALID_*. */
  setVcpuEvents(events: InitOfStruct<typeof KvmVcpuEvents>): void {
    this.set(request.KVM_SET_VCPU_EVENTS, KvmVcpuEvents.from(events))
  }

  /**
   * KVM_GET_NESTED_STATE: `struct kvm_nested_state` with its data, to be read by `new KvmNestedState(bytes)`.
   * @throws KvmError `EINVAL` where nested virtualization is off (KVM_CAP_NESTED_STATE is 0).
   */
  getNestedState(): Uint8Array {
    // KVM_CAP_NESTED_STATE is the most that it can be, and two VMCS pages at present.
    for (let size = KvmNestedState.size + 0x2000; ; size *= 2) {
      const state = new KvmNestedState(new Uint8Array(size)).assign({ size })
      try {
        this.native.ioctl(request.KVM_GET_NESTED_STATE, state.bytes)
        return state.bytes.slice(0, state.size)
      } catch (error) {
        if (!(error instanceof KvmError && error.code === 'E2BIG') || size > 0x10_0000) throw error
      }
    }
  }

  /** KVM_SET_NESTED_STATE with what {@link getNestedState} returned. */
  setNestedState(state: Uint8Array): void {
    this.native.ioctl(request.KVM_SET_NESTED_STATE, state)
  }

  /** KVM_GET_TSC_KHZ: the guest's TSC rate. */
  getTscKhz(): number {
    return this.native.ioctl(request.KVM_GET_TSC_KHZ)
  }

  /** KVM_SET_TSC_KHZ (KVM_CAP_TSC_CONTROL); 0 is the host's rate. */
  setTscKhz(khz: number): void {
    checkInteger(khz, 'KVM_SET_TSC_KHZ khz', 0, 0xffff_ffff)
    this.native.ioctl(request.KVM_SET_TSC_KHZ, khz)
  }

  /** KVM_GET_REG_LIST: the ids that {@link getOneReg} takes. */
  getRegList(): bigint[] {
    const call = (bytes: Uint8Array) => this.native.ioctl(request.KVM_GET_REG_LIST, bytes)
    const view = readList(8, 8, 64, call)
    const count = view.getUint32(0, true)
    return Array.from({ length: count }, (_, index) => view.getBigUint64(8 + index * 8, true))
  }

  /** KVM_GET_ONE_REG: a register's bytes, as many as its id says. */
  getOneReg(id: bigint): Uint8Array {
    checkUint64(id, 'KVM_GET_ONE_REG id')
    const bytes = new Uint8Array(1 << Number((id & KVM_REG_SIZE_MASK) >> KVM_REG_SIZE_SHIFT))
    this.native.getOneReg(id, bytes)
    return bytes
  }

  /** KVM_SET_ONE_REG. */
  setOneReg(id: bigint, bytes: Uint8Array): void {
    this.native.setOneReg(id, bytes)
  }

  /** KVM_SET_DEVICE_ATTR on the vCPU. */
  setDeviceAttr(group: number, attribute: number, bytes?: Uint8Array): void {
    this.native.deviceAttr(request.KVM_SET_DEVICE_ATTR, group, attribute, 0, bytes)
  }
}
