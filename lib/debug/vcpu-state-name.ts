import {
  KVM_MP_STATE_HALTED,
  KVM_MP_STATE_INIT_RECEIVED,
  KVM_MP_STATE_UNINITIALIZED,
} from '../kvm/abi/vcpu-state.js'
import type { VcpuFd } from '../kvm/vcpu-fd.js'

const STATES: ReadonlyMap<number, string> = new Map([
  [KVM_MP_STATE_UNINITIALIZED, 'not started'],
  [KVM_MP_STATE_INIT_RECEIVED, 'waits for SIPI'],
  [KVM_MP_STATE_HALTED, 'halted'],
])

/** What `info threads` says of a vCPU. */
export function vcpuState(index: number, vcpu: VcpuFd): string {
  return `vCPU ${index}, ${STATES.get(vcpu.getMpState()) ?? 'runnable'}`
}
