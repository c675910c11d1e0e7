import { KVM_CAP_SET_GUEST_DEBUG2 } from '../kvm/abi/capabilities.js'
import { KVM_EXIT_DEBUG, KVM_EXIT_INTR } from '../kvm/abi/exits.js'
import {
  KVM_GUESTDBG_BLOCKIRQ,
  KVM_GUESTDBG_ENABLE,
  KVM_GUESTDBG_USE_HW_BP,
  KVM_GUESTDBG_USE_SW_BP,
} from '../kvm/abi/vcpu-state.js'
import { Kvm } from '../kvm/kvm.js'
import { createGuestMemory } from '../memory/mapping.js'
import { DebugRegisters, type HardwarePoint } from './debug-registers.js'

/** What this host's KVM can do for a debugger. A KVM in software, or one that is nested in an emulator, cannot do all. */
export interface DebugSupport {
  /** INT3 exits with KVM_EXIT_DEBUG. */
  readonly int3: boolean
  /** So does an instruction at an address in a debug register. */
  readonly hardwareBreakpoints: boolean
  /** So does an access to one. */
  readonly watchpoints: boolean
  /** A single step can keep interrupts out (KVM_GUESTDBG_BLOCKIRQ). */
  readonly blockIrq: boolean
}

let support: DebugSupport | undefined

/** Tries it out in guests of a few instructions, once in a process. @throws KvmError, VmmError */
export function debugSupport(): DebugSupport {
  support ??= probe()
  return support
}

const CODE = 0x1000
const DATA = 0x2000
const PAGES = 4
/** Far more signals than can come meanwhile. */
const MOST_RUNS = 100

/** A 16-bit guest; whatever else comes of an instruction that KVM does not stop at, it is no KVM_EXIT_DEBUG. */
const INT3 = [0xcc, 0xf4]
const NOP = [0x90, 0xf4]
/** mov %al, (0x2000) */
const STORE = [0xa2, DATA & 0xff, DATA >> 8, 0xf4]

function probe(): DebugSupport {
  using kvm = Kvm.open()
  const debug2 = kvm.checkExtension(KVM_CAP_SET_GUEST_DEBUG2)
  return {
    int3: stops(kvm, INT3, KVM_GUESTDBG_USE_SW_BP),
    hardwareBreakpoints: stops(kvm, NOP, KVM_GUESTDBG_USE_HW_BP, {
      access: 'execute',
      address: BigInt(CODE),
      length: 1,
    }),
    watchpoints: stops(kvm, STORE, KVM_GUESTDBG_USE_HW_BP, {
      access: 'write',
      address: BigInt(DATA),
      length: 1,
    }),
    blockIrq: (debug2 & KVM_GUESTDBG_BLOCKIRQ) !== 0,
  }
}

function stops(kvm: Kvm, code: readonly number[], use: number, point?: HardwarePoint): boolean {
  using vm = kvm.createVm()
  const memory = createGuestMemory([{ guestAddress: 0, size: PAGES * 4096 }])
  try {
    memory.register(vm)
    memory.write(CODE, Uint8Array.from(code))
    // Where the guest's own handler of INT3 is: HLT.
    memory.write(0x800, Uint8Array.of(0xf4))
    memory.write(4 * 3, Uint8Array.of(0, 0x08, 0, 0))
    using vcpu = vm.createVcpu(0)
    const sregs = vcpu.getSregs()
    Object.assign(sregs.cs, { base: 0n, selector: 0 })
    vcpu.setSregs(sregs)
    vcpu.setRegs({ rip: BigInt(CODE), rsp: 0x700n, rflags: 2n })
    const registers = new DebugRegisters()
    if (point) registers.insert(point)
    vcpu.setGuestDebug({ control: KVM_GUESTDBG_ENABLE | use, debugreg: registers.encode() })
    for (let i = 0; i < MOST_RUNS; i++) {
      const reason = vcpu.run()
      if (reason !== KVM_EXIT_INTR) return reason === KVM_EXIT_DEBUG
    }
    return false
  } finally {
    memory.close()
  }
}
