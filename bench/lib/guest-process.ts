import { type ChildProcess, spawn } from 'node:child_process'
import { overheard } from './cli.js'

/** What init prints first, in every guest of the benchmarks. */
export const INIT_MARKER = 'node-kvm: init'
/** Seconds for anything that is waited for, unless told. */
const LIMIT = 120

/** A monitor's process with a guest's console on its standard output. */
export class GuestProcess implements AsyncDisposable {
  readonly child: ChildProcess
  readonly startedAt = performance.now()
  /** All that has come, standard error too. */
  output = ''
  #waiting: (() => void)[] = []
  #exited = false

  constructor(command: readonly string[]) {
    // Node would read these certificates first: 0.4 of 10⁹ instructions, four times what it takes to start.
    const { NODE_EXTRA_CA_CERTS: _, ...env } = process.env
    this.child = spawn(command[0]!, command.slice(1), { env, stdio: ['ignore', 'pipe', 'pipe'] })
    const wake = () => {
      for (const look of this.#waiting.splice(0)) look()
    }
    const take = (data: Buffer) => {
      this.output += data.toString('latin1')
      overheard(data)
      wake()
    }
    this.child.stdout!.on('data', take)
    this.child.stderr!.on('data', take)
    const end = () => {
      this.#exited = true
      wake()
    }
    this.child.on('error', end).on('exit', end)
  }

  get pid(): number {
    return this.child.pid!
  }

  /**
   * Milliseconds from the process's start until `text` has come.
   * @param limit seconds from now
   * @throws Error with the last that came, if the process ends before or the time is up
   */
  async waitFor(text: string, limit = LIMIT): Promise<number> {
    const end = performance.now() + limit * 1000
    while (!this.output.includes(text)) {
      const left = end - performance.now()
      if (this.#exited || left <= 0) {
        const what = this.#exited ? `ended before` : `took over ${limit} s to say`
        throw new Error(`${this.child.spawnfile} ${what} '${text}':\n${this.output.slice(-2000)}`)
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left)
        this.#waiting.push(() => {
          clearTimeout(timer)
          resolve()
        })
      })
    }
    return performance.now() - this.startedAt
  }

  async kill(): Promise<void> {
    if (this.#exited) return
    const gone = new Promise((resolve) => this.child.once('exit', resolve))
    this.child.kill('SIGKILL')
    await gone
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
  }
}
