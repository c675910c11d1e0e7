import { existsSync, readFileSync } from 'node:fs'
import { VmmError } from '../errors.js'
import { KVM_EXIT_HLT } from '../kvm/abi/exits.js'
import { Kvm } from '../kvm/kvm.js'
import type { VcpuFd } from '../kvm/vcpu-fd.js'
import { createGuestMemory } from '../memory/mapping.js'
import { le32 } from '../util/bits.js'

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
  /** What it comes down to. */
  readonly state: KvmState
  /** What was found, in a sentence. */
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
/** The first run pays for page faults, and in an emulated host for the translation of KVM itself. */
const WARM_UP_LOOPS = 1000
/** The best run counts, as this machine may have other things to do. */
const RUNS = 3
const RUN_LIMIT_MS = 100
const PAGE = 4096

const EMULATE = 'node-kvm run, npm start and npm test use the emulated KVM host meanwhile'

/**
 * Asks and tries this machine's KVM: half a second at most. With `quick` it is not tried where the processor alone tells
 * that it cannot be fine, and takes some milliseconds.
 */
export function probeKvm({ quick = false, path = '/dev/kvm' } = {}): KvmFinding {
  const virtualizes = processorVirtualizes()
  let rate: number | undefined
  try {
    rate = quick && !virtualizes ? openOnly(path) : instructionsPerSecond(path)
  } catch (error) {
    return findingOfError(error)
  }
  const facts = [
    kvmModule(),
    ...(virtualizes ? [] : ['a processor without VT-x or SVM']),
    ...(rate === undefined ? [] : [`${millions(rate)} million guest instructions a second`]),
  ].join(', ')
  if (virtualizes && rate !== undefined && rate >= SOFTWARE_LIMIT) {
    return { state: 'fine', detail: facts, remedy: '' }
  }
  return {
    state: 'software',
    detail: `${facts}: a KVM in software, which cannot run unmodified kernels`,
    remedy: `run on a machine (or in a VM) with VT-x or SVM; ${EMULATE}`,
  }
}

/** kvm_intel and kvm_amd want a processor that shows one of these, and so a KVM without is neither of them. */
function processorVirtualizes(): boolean {
  const flags = /^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? ''
  return /\b(vmx|svm)\b/.test(flags)
}

/** For its errors alone. */
function openOnly(path: string): undefined {
  Kvm.open(path).close()
}

function instructionsPerSecond(path: string): number {
  using kvm = Kvm.open(path)
  using vm = kvm.createVm()
  const memory = createGuestMemory([{ guestAddress: 0, size: PAGE }], { name: 'kvm-probe' })
  try {
    memory.register(vm)
    using vcpu = vm.createVcpu(0)
    const run = (loops: number) => {
      memory.write(0, countdown(loops))
      return loopsPerSecond(vcpu, loops)
    }
    run(WARM_UP_LOOPS)
    let best = 0
    for (let runs = 0; runs < RUNS && best < SOFTWARE_LIMIT; runs++) {
      // Two instructions a loop.
      best = Math.max(best, 2 * run(LOOPS))
    }
    return best
  } finally {
    memory.close()
  }
}

/** An upper bound where the guest takes too long to be waited for. */
function loopsPerSecond(vcpu: VcpuFd, loops: number): number {
  const sregs = vcpu.getSregs()
  Object.assign(sregs.cs, { base: 0n, selector: 0 })
  vcpu.setSregs(sregs)
  vcpu.setRegs({ rip: 0n, rflags: 2n })
  const start = performance.now()
  while (vcpu.run() !== KVM_EXIT_HLT) {
    if (performance.now() - start > RUN_LIMIT_MS) break
  }
  return (loops / (performance.now() - start)) * 1000
}

/** mov ecx, loops; dec ecx; jnz -2; hlt, in 16-bit code. */
function countdown(loops: number): Uint8Array {
  return Uint8Array.from([0x66, 0xb9, ...le32(loops), 0x66, 0x49, 0x75, 0xfc, 0xf4])
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

function millions(rate: number): string {
  return (rate / 1e6).toFixed(rate < 1e7 ? 1 : 0)
}
