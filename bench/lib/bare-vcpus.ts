import { Kvm, type VcpuFd } from '../../lib/kvm.js'
import type { GuestMemory } from '../../lib/memory/guest-memory.js'
import { createGuestMemory } from '../../lib/memory/mapping.js'

const CODE = 0x1000
export const BARE_MEMORY = 0x40000

/** Runs `use` with vCPUs that stand in real mode at the first byte of `code`, all at the same. */
export async function withVcpus<T>(
  code: readonly number[],
  count: number,
  use: (vcpus: readonly VcpuFd[], memory: GuestMemory) => T | Promise<T>,
): Promise<T> {
  using kvm = Kvm.open()
  using vm = kvm.createVm()
  const memory = createGuestMemory([{ guestAddress: 0, size: BARE_MEMORY }])
  memory.register(vm)
  memory.write(CODE, Uint8Array.from(code))
  const vcpus = Array.from({ length: count }, (_, id) => vm.createVcpu(id))
  try {
    for (const vcpu of vcpus) {
      const sregs = vcpu.getSregs()
      sregs.cs.base = 0n
      sregs.cs.selector = 0
      vcpu.setSregs(sregs)
      vcpu.setRegs({ rip: BigInt(CODE), rflags: 2n })
    }
    return await use(vcpus, memory)
  } finally {
    for (const vcpu of vcpus) vcpu.close()
    memory.close()
  }
}
