import type { Bus } from '../bus/bus.js'
import type { DebugObserver, DebugTarget } from '../debug/debug-target.js'
import type { RunPage } from '../kvm/run-page.js'
import type { VcpuFd } from '../kvm/vcpu-fd.js'
import type { GuestMemory } from '../memory/guest-memory.js'
import type { RunControl } from './run-control.js'
import type { RunLoop } from './run-loop.js'
import type { StopReason } from './stop-reason.js'

export interface DebugTargetParts {
  readonly memory: GuestMemory
  readonly vcpus: readonly VcpuFd[]
  readonly pio: Bus
  readonly runLoop: RunLoop
  readonly runControl: RunControl
  /** Ends the guest as `stop()` does. */
  readonly kill: () => void
  /** As {@link VirtualMachine.reset}. */
  readonly reset: () => Promise<void>
}

/** What of a machine a debugger is given. */
export class MachineDebugTarget implements DebugTarget {
  readonly memory: GuestMemory
  readonly vcpus: readonly VcpuFd[]
  readonly kill: () => void
  readonly reset: () => Promise<void>
  readonly #parts: DebugTargetParts
  #observer: DebugObserver | undefined
  #ended = false

  constructor(parts: DebugTargetParts) {
    this.#parts = parts
    this.memory = parts.memory
    this.vcpus = parts.vcpus
    this.kill = parts.kill
    this.reset = parts.reset
  }

  get ended(): boolean {
    return this.#ended
  }

  observe(observer: DebugObserver | undefined): void {
    this.#observer = observer
    this.#parts.runLoop.onDebugExit = observer && ((vcpu, page) => this.#debugExit(vcpu, page))
  }

  hold(): Promise<void> {
    return this.#parts.runControl.hold('debugger')
  }

  release(vcpus?: readonly number[]): void {
    this.#parts.runControl.choose(vcpus)
    this.#parts.runControl.release('debugger')
  }

  watchPort(port: number, onWrite: (vcpu: number) => void): () => void {
    const { pio, runLoop } = this.#parts
    const device = {
      name: 'gdb',
      read: () => 0xff,
      write: () => onWrite(runLoop.serving),
    }
    pio.attach(port, 1, device)
    return () => pio.detach(port)
  }

  /** The guest runs no more. */
  end({ kind }: StopReason): void {
    this.#ended = true
    this.#observer?.ended(kind === 'crashed' || kind === 'error' ? 'crashed' : 'exited')
  }

  #debugExit(vcpu: number, page: RunPage): void {
    const exit = page.exit()
    if (exit.reason === 'debug') this.#observer?.debugExit(vcpu, exit)
  }
}
