import { existsSync } from 'node:fs'
import { VmmError } from '../errors.js'
import { KVM_EXIT_HLT } from '../kvm/abi/exits.js'
import { Kvm } from '../kvm/kvm.js'
import { createGuestMemory } from '../memory/mapping.js'

/**
 * - `fine`: stock kernels run
 * - `absent`: there is no /dev/kvm
 * - `forbidden`: it is there, but not for this user
 * - `software`: it is there, but guests run too slowly for a processor's virtualization, as with a KVM in software,
 *   which cannot run unmodified kernels
 * - `broken`: it is there, but a guest of a few instructions does not run
 */
export type KvmState = 'fine' | 'absent' | 'forbidden' | 'software' | 'broken'

/** What this machine's /dev/kvm can do. */
export interface KvmFinding {
  readonly state: KvmState
  readonly detail: string
  /** What would mend it; empty if it is fine. */
  readonly remedy: string
}

/**
 * Guest instructions per second that separate a processor that virtualizes, even one that is itself emulated
 * (hundreds of millions), from a KVM in software (about two million).
 */
const SOFTWARE_LIMIT = 20e6
const LOOPS = 100_000
/** mov ecx, LOOPS; dec ecx; jnz -2; hlt, in 16-bit code. */
const COUNTDOWN = [0x66, 0xb9, ...littleEndian32(LOOPS), 0x66, 0x49, 0x75, 0xfc, 0xf4]
const PAGE = 4096

const EMULATE = 'node-kvm run, npm start and npm test use the emulated KVM host meanwhile'

/** Asks and tries this machine's KVM: a tenth of a second at most. */
export function probeKvm(): KvmFinding {
  let rate: number
  try {
    rate = instructionsPerSecond()
  } catch (error) {
    return findingOfError(error)
  }
  const speed = `${(rate / 1e6).toPrecision(2)} million guest instructions a second`
  if (rate >= SOFTWARE_LIMIT)
    return { state: 'fine', detail: `${kvmModule()}, ${speed}`, remedy: '' }
  return {
    state: 'software',
    detail: `${kvmModule()}, ${speed}: a KVM in software, which cannot run unmodified kernels`,
    remedy: `run on a machine (or in a VM) with VT-x or SVM; ${EMULATE}`,
  }
}

function instructionsPerSecond(): number {
  using kvm = Kvm.open()
  using vm = kvm.createVm()
  const memory = createGuestMemory([{ guestAddress: 0, size: PAGE }], { name: 'kvm-probe' })
  try {
    memory.register(vm)
    memory.write(0, Uint8Array.from(COUNTDOWN))
    using vcpu = vm.createVcpu(0)
    const sregs = vcpu.getSregs()
    Object.assign(sregs.cs, { base: 0n, selector: 0 })
    vcpu.setSregs(sregs)
    vcpu.setRegs({ rip: 0n, rflags: 2n })
    const start = process.hrtime.bigint()
    while (vcpu.run() !== KVM_EXIT_HLT) {
      if (process.hrtime.bigint() - start > 2_000_000_000n) break
    }
    return (2 * LOOPS) / (Number(process.hrtime.bigint() - start) / 1e9)
  } finally {
    memory.close()
  }
}

function findingOfError(error: unknown): KvmFinding {
  const { code } = error as VmmError
  const detail = (error as Error).message
  if (code === 'ERR_KVM_ABSENT') {
    return {
      state: 'absent',
      detail,
      remedy: `load kvm_intel or kvm_amd, switch on VT-x or SVM in the firmware, or, in a VM, nested virtualization; ${EMULATE}`,
    }
  }
  if (code === 'ERR_KVM_FORBIDDEN') {
    return {
      state: 'forbidden',
      detail,
      remedy: `add this user to the group kvm (\`sudo usermod -aG kvm $USER\`, then log in again); ${EMULATE}`,
    }
  }
  if (error instanceof VmmError && (code === 'ERR_PLATFORM' || code === 'ERR_ADDON')) throw error
  return { state: 'broken', detail, remedy: `see the kernel log (\`dmesg\`); ${EMULATE}` }
}

function kvmModule(): string {
  return (
    ['kvm_intel', 'kvm_amd', 'kvm_pvm'].find((name) => existsSync(`/sys/module/${name}`)) ?? 'kvm'
  )
}

function littleEndian32(value: number): number[] {
  return [value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, value >>> 24]
}
