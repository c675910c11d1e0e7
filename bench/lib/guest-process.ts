import { type ChildProcess, spawn } from 'node:child_process'

/** What init prints first, in every guest of the benchmarks. */
export const INIT_MARKER = 'node-kvm: init'

/** A monitor's process with a guest's console on its standard output. */
export class GuestProcess {
  readonly child: ChildProcess
  readonly startedAt = performance.now()
  #output = ''
  #waiting: (() => void)[] = []
  #exited = false

  constructor(command: readonly string[]) {
    this.child = spawn(command[0]!, command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] })
    const take = (data: Buffer) => {
      this.#output += data.toString('latin1')
      for (const wake of this.#waiting.splice(0)) wake()
    }
    this.child.stdout!.on('data', take)
    this.child.stderr!.on('data', take)
    this.child.on('exit', () => {
      this.#exited = true
      for (const wake of this.#waiting.splice(0)) wake()
    })
  }

  get pid(): number {
    return this.child.pid!
  }

  /** Milliseconds from the process's start until `text` has come. */
  async waitFor(text: string): Promise<number> {
    while (!this.#output.includes(text)) {
      if (this.#exited)
        throw new Error(
          `${this.child.spawnfile} ended before '${text}':\n${this.#output.slice(-2000)}`,
        )
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
    return performance.now() - this.startedAt
  }

  async kill(): Promise<void> {
    if (this.#exited) return
    const gone = new Promise((resolve) => this.child.once('exit', resolve))
    this.child.kill('SIGKILL')
    await gone
  }
}
