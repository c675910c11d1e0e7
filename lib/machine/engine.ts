import type { GuestMemory } from '../memory/guest-memory.js'
import type { VmDisk, VmNet } from './device-handles.js'
import type { MachineHandles } from './machine-handles.js'
import type { WaitLimits } from './stop-limits.js'
import type { StopReason } from './stop-reason.js'
import type { GdbStub } from './vm-gdb.js'
import type { VmStatistics } from './vm-stats.js'
import type { VmWarning } from './vm-warning.js'

/** What runs a machine's guest: this process, or one of the machine's own. {@link VirtualMachine} keeps its state. */
export interface Engine {
  /** @throws VmmError `ERR_STATE` where it is another process's */
  readonly memory: GuestMemory
  readonly handles: MachineHandles
  readonly gdb: GdbStub
  /** Of the process that runs the guest. */
  readonly pid: number
  stats(): VmStatistics
  /** Lets the guest run, from where it is. */
  run(): void
  /** Resolves when no vCPU runs guest code any more, or the guest has ended. */
  pause(): Promise<void>
  pressPowerButton(): void
  /**
   * Starts the machine anew, and lets it go on if it ran; {@link EngineEvents.onReset} is called when that is done.
   * @throws what loading the kernel throws
   */
  reset(): Promise<void>
  plugDisk(disk: unknown): Promise<VmDisk>
  plugNet(net: unknown): Promise<VmNet>
  unplug(device: unknown, limits: WaitLimits): Promise<void>
  /** The guest has ended, or is to end now: nothing of it runs from here on. */
  end(reason: StopReason): void
  /** Resolves when all that the guest said before its end is here. */
  readonly settled: Promise<void>
  ref(): void
  unref(): void
}

/** What a machine's parts tell of. */
export interface EngineEvents {
  /** Called once, when the guest ends by itself or by a failure. */
  onEnd(reason: StopReason): void
  /** The guest, or a debugger, asks for the machine to be started anew. Resolves when it is, or has ended. */
  restart(): Promise<void>
  onReset(): void
  onWarning(warning: VmWarning): void
}
