import type { RunLoop } from './run-loop.js'

/** Who can keep a machine's vCPUs from running: the program by `pause()`, a reset that is under way, a debugger. */
export type Holder = 'program' | 'reset' | 'debugger'

/** What is to stand still with the vCPUs. */
export interface Clocks {
  stop(): void
  start(): void
}

/** Lets the vCPUs run while nobody holds them. At first the program does. */
export class RunControl {
  readonly #loop: RunLoop
  readonly #clocks: Clocks
  readonly #holders = new Set<Holder>(['program'])
  /** How often the vCPUs were let go. */
  #runs = 0
  /** The vCPUs that the debugger lets go on: all unless it said. */
  #only: readonly number[] | undefined

  constructor(loop: RunLoop, clocks: Clocks) {
    this.#loop = loop
    this.#clocks = clocks
  }

  /** Takes every vCPU out of the guest. Resolves when none runs, or the guest has ended. */
  async hold(by: Holder): Promise<void> {
    this.#holders.add(by)
    const runs = this.#runs
    await this.#loop.pause()
    // They may have been let go, and held once more, meanwhile.
    if (runs === this.#runs && !this.#loop.ended) this.#clocks.stop()
  }

  /** Lets the vCPUs go on if nobody else holds them. Does nothing after the guest's end. */
  release(by: Holder): void {
    this.#holders.delete(by)
    if (this.#holders.size > 0 || this.#loop.ended) return
    this.#runs++
    this.#clocks.start()
    this.#loop.run(this.#only)
  }

  /** Which vCPUs are to run when any are, by index; all if `undefined`. Told while they are held. */
  choose(only: readonly number[] | undefined): void {
    this.#only = only
  }
}
