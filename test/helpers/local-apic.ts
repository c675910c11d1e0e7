import type { VcpuFd } from '../../lib/kvm/vcpu-fd.js'

const SPURIOUS = 0xf0
const IRR = 0x200
const APIC_ENABLED = 0x1ff

const registers = (vcpu: VcpuFd) => {
  const bytes = vcpu.getLapic()
  return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset) }
}

/** Lets a vCPU's local APIC take interrupts. */
export function enableLocalApic(vcpu: VcpuFd): void {
  const { bytes, view } = registers(vcpu)
  view.setUint32(SPURIOUS, APIC_ENABLED, true)
  vcpu.setLapic(bytes)
}

/** Whether the local APIC has been asked for an interrupt of `vector`. */
export function isRequested(vcpu: VcpuFd, vector: number): boolean {
  const word = registers(vcpu).view.getUint32(IRR + 16 * (vector >> 5), true)
  return ((word >>> (vector & 31)) & 1) === 1
}
