import { serveMetrics, Trace, type VirtualMachine } from '../index.js'
import type { RunOptions } from './machine-options.js'

/** What goes with a running machine besides its console: metrics, a trace, and what `node-kvm ps` and the like talk to. */
export class RunServices {
  readonly #vm: VirtualMachine
  readonly #options: RunOptions
  readonly #trace: Trace | undefined
  #closers: (() => void | Promise<void>)[] = []

  /** Before the guest's first instruction. */
  constructor(vm: VirtualMachine, options: RunOptions) {
    this.#vm = vm
    this.#options = options
    this.#trace = options.trace === undefined ? undefined : new Trace()
  }

  /** When the guest runs already, as it needs none of this. */
  async open(): Promise<void> {
    const { metrics, name } = this.#options
    await this.#supervise(name)
    if (metrics) {
      const server = await serveMetrics({ machines: () => [this.#vm], ...metrics })
      this.#closers.push(() => server.close())
    }
  }

  async close(): Promise<void> {
    this.#trace?.close()
    for (const close of this.#closers.splice(0)) await close()
    if (this.#trace) await this.#trace.write(this.#options.trace!)
  }

  /** Where there can be no socket, it is missed only by who gave the machine a name. */
  async #supervise(name: string | undefined): Promise<void> {
    const { SupervisorServer } = await import('./supervisor/server.js')
    try {
      const server = await SupervisorServer.open(this.#vm, name ?? `vm-${process.pid}`)
      this.#closers.push(() => server.close())
    } catch (error) {
      if (name !== undefined) throw error
    }
  }
}
