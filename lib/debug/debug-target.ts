import type { VcpuFd } from '../kvm/vcpu-fd.js'
import type { GuestMemory } from '../memory/guest-memory.js'

/** A return of KVM_RUN that is the debugger's business: KVM_EXIT_DEBUG. */
export interface DebugExit {
  /** 1 for #DB, 3 for #BP. */
  readonly exception: number
  /** The linear address of the instruction. */
  readonly pc: bigint
  readonly dr6: bigint
}

/** Who is told while a debugger is attached. Called where the exit is served: the vCPU waits for the return. */
export interface DebugObserver {
  debugExit(vcpu: number, exit: DebugExit): void
  /** The guest has ended; its vCPUs run no more. */
  ended(status: 'exited' | 'crashed'): void
}

/** A machine as a debugger has it. */
export interface DebugTarget {
  readonly memory: GuestMemory
  /** To be used only between `hold()` and `release()`. */
  readonly vcpus: readonly VcpuFd[]
  readonly ended: boolean
  /** Tells `observer` from now on, `undefined` for nobody. */
  observe(observer: DebugObserver | undefined): void
  /** Takes every vCPU out of the guest, and resolves when none runs. It stays so until `release()`. */
  hold(): Promise<void>
  /** Lets vCPUs run, all unless told, as far as nothing else keeps the machine from running. */
  release(vcpus?: readonly number[]): void
  /** Calls `onWrite` for each write to an I/O port, with the vCPU that makes it. Returns what undoes that. */
  watchPort(port: number, onWrite: (vcpu: number) => void): () => void
  /** Ends the guest. */
  kill(): void
  /** Puts the machine back to its first instruction. It stays held. */
  reset(): Promise<void>
}
