import type { Cleanup } from '../util/cleanup.js'
import { type Assembly, assemble } from './assemble.js'
import type { Engine, EngineEvents } from './engine.js'
import type { MachineConfig } from './machine-config.js'
import type { MachineHandles } from './machine-handles.js'
import type { WaitLimits } from './stop-limits.js'
import { describeStopReason, type StopReason } from './stop-reason.js'
import type { GdbStub } from './vm-gdb.js'

/** A machine in this process. */
export class LocalEngine implements Engine {
  readonly handles: MachineHandles
  readonly gdb: GdbStub
  readonly settled = Promise.resolve()
  readonly pid = process.pid
  readonly #assembly: Assembly
  readonly #events: EngineEvents
  #ended = false

  private constructor(assembly: Assembly, events: EngineEvents) {
    this.#assembly = assembly
    this.#events = events
    this.handles = assembly
    const { debugTarget } = assembly
    this.gdb = {
      serve: async (stream) => {
        // Loaded when it is asked for, as hardly any machine is debugged.
        const { serveGdb } = await import('../debug/gdb-server.js')
        const { debugSupport } = await import('../debug/debug-support.js')
        await serveGdb(debugTarget, debugSupport(), stream)
      },
      hold: () => debugTarget.hold(),
      release: () => debugTarget.release(),
    }
  }

  /** @throws what {@link assemble} throws */
  static async create(
    config: MachineConfig,
    cleanup: Cleanup,
    events: EngineEvents,
  ): Promise<LocalEngine> {
    return new LocalEngine(await assemble(config, cleanup, events), events)
  }

  get memory() {
    return this.#assembly.memory
  }

  stats() {
    return this.#assembly.stats()
  }

  run(): void {
    this.#assembly.watchdog?.resume()
    this.#assembly.runControl.release('program')
  }

  async pause(): Promise<void> {
    this.#assembly.watchdog?.pause()
    await this.#assembly.runControl.hold('program')
  }

  pressPowerButton(): void {
    this.#assembly.acpiPm.pressPowerButton()
  }

  async reset(): Promise<void> {
    const { runControl } = this.#assembly
    await runControl.hold('reset')
    if (this.#ended) return
    await this.#assembly.reset()
    if (this.#ended) return
    this.#events.onReset()
    runControl.release('reset')
  }

  plugDisk(disk: unknown) {
    return this.#assembly.hotPlug.plugDisk(disk)
  }

  plugNet(net: unknown) {
    return this.#assembly.hotPlug.plugNet(net)
  }

  unplug(device: unknown, limits: WaitLimits) {
    return this.#assembly.hotPlug.unplug(device, limits)
  }

  end(reason: StopReason): void {
    this.#ended = true
    this.#assembly.runLoop.stop()
    this.#assembly.hotPlug.end()
    this.#assembly.virtioMem?.end()
    this.#assembly.endAgent(describeStopReason(reason))
    this.#assembly.debugTarget.end(reason)
    this.#assembly.console.output.end()
    this.#assembly.debugcon?.end()
  }

  ref(): void {
    this.#assembly.runLoop.ref()
  }

  unref(): void {
    this.#assembly.runLoop.unref()
  }
}
