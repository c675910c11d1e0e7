import { EventEmitter } from 'node:events'
import type { CopyInOptions, CopyOutOptions, CopySummary } from '../agent/copy-options.js'
import type { ExecOptions, ExecResult } from '../agent/exec.js'
import type { SpawnOptions } from '../agent/exec-request.js'
import type { GuestAgent } from '../agent/guest-agent.js'
import type { GuestProcess } from '../agent/guest-process.js'
import type { LimitOptions } from '../agent/limit.js'
import type { BlockBackend } from '../backends/block/block-backend.js'
import type { NetBackend } from '../backends/net/net-backend.js'
import { VmmError } from '../errors.js'
import type { GuestMemory } from '../memory/guest-memory.js'
import { Cleanup } from '../util/cleanup.js'
import { Settled } from '../util/settled.js'
import type { VmConsole } from './console.js'
import type {
  VmBalloon,
  VmDebugConsole,
  VmDisk,
  VmNet,
  VmVirtioConsole,
  VmVsock,
} from './device-handles.js'
import type { DiskOptions, NetOptions } from './device-options.js'
import type { Engine, EngineEvents } from './engine.js'
import { formatStats } from './format-stats.js'
import { withKeptKernel } from './kept-kernel.js'
import { LocalEngine } from './local-engine.js'
import { type MachineConfig, parseConfig } from './machine-config.js'
import type { MachineHandles } from './machine-handles.js'
import type { VirtualMachineOptions } from './machine-options.js'
import * as check from './option-checks.js'
import { awaitStop, type WaitLimits } from './stop-limits.js'
import type { StopReason } from './stop-reason.js'
import type { VmVirtioMem } from './virtio-mem.js'
import { VmGdb } from './vm-gdb.js'
import { VmLog } from './vm-log.js'
import type { VmStatistics } from './vm-stats.js'
import type { VmWarning } from './vm-warning.js'

const checkStart = check.object({ signal: check.optional(check.abortSignal) }, { topLevel: true })

/**
 * - `created`: set up, no guest instruction has run
 * - `running`, `paused`
 * - `stopped`: the guest has ended; its memory can still be read
 * - `closed`: everything has been given back
 */
export type VmState = 'created' | 'running' | 'paused' | 'stopped' | 'closed'

/** The events of a {@link VirtualMachine}, with their arguments. */
export interface VirtualMachineEvents {
  /** The state has changed. */
  state: [state: VmState]
  /** The guest has ended. Emitted once; the same reason that {@link VirtualMachine.stopped} gives. */
  stopped: [reason: StopReason]
  /** The machine has been reset, and its kernel loaded anew: by {@link VirtualMachine.reset}, or by the guest. */
  reset: []
  /** Something went wrong that the machine goes on from. */
  warning: [warning: VmWarning]
}

/**
 * A virtual machine: vCPUs on threads of their own, devices in this thread.
 *
 * A running machine keeps the process alive, as a server does, unless `unref()` was called; a paused, stopped or closed
 * one does not.
 * Any number can run in one process, and in Worker threads too. A machine belongs to the thread that created it.
 *
 * @example
 * ```ts
 * import { FileDisk, VirtualMachine } from 'node-kvm'
 *
 * await using vm = await VirtualMachine.create({
 *   kernel: 'vmlinuz',
 *   initrd: 'initrd.img',
 *   commandLine: 'console=ttyS0',
 *   disks: [new FileDisk('disk.img')],
 * })
 * vm.console.output.pipe(process.stdout)
 * await vm.start()
 * console.log(await vm.stopped)
 * ```
 */
export class VirtualMachine
  extends EventEmitter<VirtualMachineEvents>
  implements MachineHandles, AsyncDisposable
{
  /** The options, checked and completed. */
  readonly config: MachineConfig
  /** The serial console, the guest's `ttyS0`. */
  readonly console: VmConsole
  /** The disks, in the order of the option `disks`. */
  readonly disks: readonly VmDisk[]
  /** The network cards, in the order of the option `nets`. */
  readonly nets: readonly VmNet[]
  /**
   * Connections between this program and programs in the guest, as Node streams: `connect(port)`, `listen(port, …)`.
   * `undefined` without the option `vsock`.
   */
  readonly vsock: VmVsock | undefined
  /** The agent in the guest, which runs programs there and copies files. `undefined` without the option `agent`. */
  readonly agent: GuestAgent | undefined
  /** The guest's `hvc0`, and its ports as Node streams. `undefined` without the option `virtioConsole`. */
  readonly virtioConsole: VmVirtioConsole | undefined
  /**
   * The memory balloon, which takes memory from the guest for the host: `vm.balloon.target = 64 * 2 ** 20`.
   * `undefined` without the option `balloon`.
   */
  readonly balloon: VmBalloon | undefined
  /**
   * Memory that comes and goes while the guest runs: `await vm.virtioMem.resize('1G')`. `undefined` without the option
   * `virtioMem`.
   */
  readonly virtioMem: VmVirtioMem | undefined
  /** What the guest writes to its debug console. `undefined` without the option `devices.debugcon`. */
  readonly debugcon: VmDebugConsole | undefined
  /** Lets GDB debug the guest: `await vm.gdb.listen({ port: 1234 })`. */
  readonly gdb: VmGdb
  /** Why the guest ended. Never rejects: a failure of the host is a reason too. */
  readonly stopped: Promise<StopReason>

  readonly #engine: Engine
  readonly #cleanup: Cleanup
  readonly #settle: (reason: StopReason) => void
  readonly #log: VmLog
  #state: VmState = 'created'
  #closing: Promise<void> | undefined
  #resetting: Promise<void> | undefined

  private constructor(
    config: MachineConfig,
    engine: Engine,
    cleanup: Cleanup,
    ended: Promise<StopReason>,
  ) {
    super()
    this.config = config
    this.#engine = engine
    this.#cleanup = cleanup
    this.#log = new VmLog(config.log, config.name)
    const { handles } = engine
    this.console = handles.console
    this.disks = handles.disks
    this.nets = handles.nets
    this.vsock = handles.vsock
    this.agent = handles.agent
    this.virtioConsole = handles.virtioConsole
    this.balloon = handles.balloon
    this.virtioMem = handles.virtioMem
    this.debugcon = handles.debugcon
    this.gdb = new VmGdb(engine.gdb)
    const { promise, resolve } = new Settled<StopReason>()
    this.stopped = promise
    this.#settle = resolve
    void ended.then((reason) => this.#end(reason))
    this.#stopWith(config.signal)
  }

  /**
   * Checks the options, opens the disks and network backends, and sets the machine up as far as the first instruction.
   * If any of it fails, all of it is undone.
   *
   * @throws VmmError `ERR_INVALID_OPTION`, `ERR_KERNEL_IMAGE`, `ERR_INITRD`, `ERR_COMMAND_LINE`, `ERR_DISK` or `ERR_NET`,
   *   naming the option, the value and what was expected; `ERR_KVM_ABSENT`, `ERR_KVM_FORBIDDEN` or `ERR_KVM_UNSUPPORTED`
   * @throws KvmError if the kernel refuses a system call
   * @throws the reason of the option `signal`, if it is aborted meanwhile
   */
  static async create(options: VirtualMachineOptions): Promise<VirtualMachine> {
    return await VirtualMachine.fromConfig(parseConfig(options))
  }

  /**
   * {@link create} for options that have been checked.
   * @internal
   */
  static async fromConfig(config: MachineConfig): Promise<VirtualMachine> {
    config.signal?.throwIfAborted()
    const cleanup = new Cleanup()
    const { promise: ended, resolve: end } = new Settled<StopReason>()
    try {
      let vm: VirtualMachine | undefined
      const engine = await openEngine(await withKeptKernel(config), cleanup, {
        onEnd: end,
        restart: async () => {
          if (vm) await vm.#reset()
        },
        onReset: () => {
          if (vm) vm.#wasReset()
        },
        onWarning: (warning) => {
          if (vm) vm.#warn(warning)
        },
      })
      config.signal?.throwIfAborted()
      vm = new VirtualMachine(config, engine, cleanup, ended)
      return vm
    } catch (error) {
      await cleanup.run().catch(() => {}) // the first error is the one to report
      throw error
    }
  }

  /** What it is doing. */
  get state(): VmState {
    return this.#state
  }

  /** The number of the process that runs the guest: this one's, or with `isolation: 'process'` that of its own. */
  get pid(): number {
    return this.#engine.pid
  }

  /**
   * The guest's physical memory. Usable until `close()`.
   * @throws VmmError `ERR_STATE` with `isolation: 'process'`, unless it is of the kind `'memfd'`, which processes share
   */
  get memory(): GuestMemory {
    return this.#engine.memory
  }

  /**
   * What the guest has made the host do so far: exits by reason, port and address with the time that they took, what
   * became of each vCPU's, and KVM's own statistics. Plain data; may be called at any time until `close()`.
   * @throws VmmError `ERR_CLOSED`
   */
  stats(): VmStatistics {
    if (this.#state === 'closed') throw new VmmError('ERR_CLOSED', 'the machine is closed')
    return this.#engine.stats()
  }

  /** {@link VirtualMachine.stats} as a table for people: what took the host's time first. */
  explain(): string {
    return formatStats(this.stats())
  }

  /**
   * Lets the guest run from its first instruction.
   * @param options.signal ends the machine as `stop()` does, when aborted: `AbortSignal.timeout(60_000)`
   * @throws VmmError `ERR_STATE` if it has run before; the signal's reason, if that is aborted already
   */
  async start(options: { signal?: AbortSignal } = {}): Promise<void> {
    const { signal } = checkStart(options, 'options')
    this.#require('start', 'created')
    signal?.throwIfAborted()
    this.#stopWith(signal)
    this.#enter('running')
    this.#engine.run()
  }

  /**
   * Takes every vCPU out of the guest; resolves when none runs guest code any more.
   * @throws VmmError `ERR_STATE` unless running
   */
  async pause(): Promise<void> {
    this.#require('pause', 'running')
    this.#enter('paused')
    await this.#engine.pause()
    await this.#resetting
  }

  /**
   * Lets a paused guest go on.
   * @throws VmmError `ERR_STATE` unless paused
   */
  async resume(): Promise<void> {
    this.#require('resume', 'paused')
    this.#enter('running')
    this.#engine.run()
  }

  /**
   * Presses the power button, and resolves when the guest has ended, which it does if its kernel and its init listen to
   * the button. One that does not listen yet learns of it when it does.
   *
   * @returns why it ended: `{ kind: 'shutdown' }` if it powered off
   * @throws VmmError `ERR_STATE` unless running or stopped; `ERR_TIMEOUT` if the guest is still running after `timeout`;
   *   the signal's reason, if that is aborted
   * @example
   * ```ts
   * await vm.shutdown({ timeout: 30_000 }).catch(() => vm.stop())
   * ```
   */
  async shutdown(limits: WaitLimits = {}): Promise<StopReason> {
    const wait = awaitStop(this.stopped, limits)
    if (this.#state === 'stopped') return wait()
    this.#require('shutdown', 'running')
    this.#engine.pressPowerButton()
    return wait()
  }

  /**
   * {@link VirtualMachine.stopped} with a limit; the machine goes on when that is reached.
   * @throws VmmError `ERR_TIMEOUT` after `timeout`; the signal's reason, if that is aborted
   */
  async wait(limits: WaitLimits = {}): Promise<StopReason> {
    return awaitStop(this.stopped, limits)()
  }

  /**
   * Resets the machine as its reset button does: devices and vCPUs are as they were before the first instruction, memory
   * is zeroed, and kernel, initrd and tables are loaded anew, from the files as they are now. A running machine goes on
   * from there, a paused one stays paused. The real-time clock keeps time and its memory.
   *
   * @throws VmmError `ERR_STATE` unless created, running or paused
   * @throws what loading the kernel throws; the machine has ended then, with that error as its reason
   */
  async reset(): Promise<void> {
    this.#require('reset', 'created', 'running', 'paused')
    await this.#reset()
    const reason = this.#state === 'stopped' ? await this.stopped : undefined
    if (reason?.kind === 'error') throw reason.error
  }

  /** A running machine keeps the process alive: the default. */
  ref(): this {
    this.#engine.ref()
    return this
  }

  /** The process may end while the machine runs, if nothing else keeps it alive; the machine ends with it. */
  unref(): this {
    this.#engine.unref()
    return this
  }

  /**
   * Runs a program in the guest to its end: {@link GuestAgent.exec} of {@link agent}.
   * @throws VmmError `ERR_STATE` without the option `agent`; and what the agent's method throws
   */
  async exec(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    return await this.#requireAgent('exec').exec(argv, options)
  }

  /** Starts a program in the guest: {@link GuestAgent.spawn}. Throws as {@link exec} does. */
  async spawn(
    argv: readonly string[],
    options: SpawnOptions & LimitOptions = {},
  ): Promise<GuestProcess> {
    return await this.#requireAgent('spawn').spawn(argv, options)
  }

  /** Copies a file or a folder into the guest: {@link GuestAgent.copyIn}. Throws as {@link exec} does. */
  async copyIn(from: string, to: string, options: CopyInOptions = {}): Promise<CopySummary> {
    return await this.#requireAgent('copyIn').copyIn(from, to, options)
  }

  /** Copies a file or a folder out of the guest: {@link GuestAgent.copyOut}. Throws as {@link exec} does. */
  async copyOut(from: string, to: string, options: CopyOutOptions = {}): Promise<CopySummary> {
    return await this.#requireAgent('copyOut').copyOut(from, to, options)
  }

  /**
   * Opens a disk and plugs it in while the guest runs, which finds it by itself; it is the last of {@link disks} then.
   * Closed when it is unplugged, or with the machine.
   * @throws VmmError `ERR_STATE` without `transport: 'pci'` and ACPI, or when the guest has ended; `ERR_PCI_SLOTS` if no
   *   slot is free; `ERR_INVALID_OPTION` or `ERR_DISK` as `create` does
   */
  async plugDisk(disk: BlockBackend | DiskOptions): Promise<VmDisk> {
    this.#require('plugDisk', 'created', 'running', 'paused')
    return await this.#engine.plugDisk(disk)
  }

  /** Opens a network backend and plugs in a card for it: as {@link plugDisk}, for {@link nets}. */
  async plugNet(net: NetBackend | NetOptions): Promise<VmNet> {
    this.#require('plugNet', 'created', 'running', 'paused')
    return await this.#engine.plugNet(net)
  }

  /**
   * Asks the guest to let go of a disk or a network card; resolves when it has, and the device and its backend are closed.
   * A guest that does not listen keeps the device; `limits` ends the waiting, not the request.
   * @throws VmmError `ERR_STATE` without `transport: 'pci'` and ACPI, or when the guest ends meanwhile;
   *   `ERR_INVALID_OPTION` for what is not plugged in; `ERR_TIMEOUT`; the signal's reason
   * @example
   * ```ts
   * const disk = await vm.plugDisk(new FileDisk('data.img'))
   * await vm.unplug(disk, { timeout: 10_000 })
   * ```
   */
  async unplug(device: VmDisk | VmNet, limits: WaitLimits = {}): Promise<void> {
    this.#require('unplug', 'created', 'running', 'paused')
    await this.#engine.unplug(device, limits)
  }

  /**
   * Ends the guest at once, as pulling the plug does; `stopped` gives `{ kind: 'killed' }`. Does nothing if it has ended.
   */
  async stop(): Promise<void> {
    this.#end({ kind: 'killed' })
    await this.#engine.settled
  }

  /**
   * Ends the guest if it runs and gives everything back: threads, memory, disks, network backends.
   * May be called again, and at any time.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #stopWith(signal: AbortSignal | undefined): void {
    if (signal === undefined) return
    const onAbort = () => void this.stop()
    signal.addEventListener('abort', onAbort, { once: true })
    // A signal that outlives the machine must not hold it.
    void this.stopped.then(() => signal.removeEventListener('abort', onAbort))
  }

  /** Resolves when it is done, or the machine has ended. Resets that meet are one. */
  #reset(): Promise<void> {
    this.#resetting ??= this.#resetOnce().finally(() => {
      this.#resetting = undefined
    })
    return this.#resetting
  }

  async #resetOnce(): Promise<void> {
    try {
      await this.#engine.reset()
    } catch (error) {
      this.#end({ kind: 'error', error: error as Error })
    }
  }

  #wasReset(): void {
    if (this.#hasEnded) return
    this.#log.reset()
    this.emit('reset')
  }

  async #close(): Promise<void> {
    try {
      this.#end({ kind: 'killed' })
      this.#enter('closed')
    } finally {
      // A listener may have thrown before the last of these.
      this.#state = 'closed'
      await this.#resetting
      await this.gdb.end()
      await this.#cleanup.run()
    }
  }

  get #hasEnded(): boolean {
    return this.#state === 'stopped' || this.#state === 'closed'
  }

  #end(reason: StopReason): void {
    if (this.#hasEnded) return
    this.#engine.end(reason)
    this.#log.stopped(reason)
    this.#settle(reason)
    this.#enter('stopped')
    this.emit('stopped', reason)
  }

  /** Later, so that a listener that throws is no failure of the device that the warning is about. */
  #warn(warning: VmWarning): void {
    this.#log.warning(warning)
    queueMicrotask(() => {
      if (this.#state !== 'closed') this.emit('warning', warning)
    })
  }

  #enter(state: VmState): void {
    this.#state = state
    this.#log.state(state)
    this.emit('state', state)
  }

  #requireAgent(method: string): GuestAgent {
    if (this.agent) return this.agent
    throw new VmmError('ERR_STATE', `${method}() needs a machine with the option agent`, {
      option: 'agent',
      expected: 'true',
    })
  }

  #require(method: string, ...states: VmState[]): void {
    if (states.includes(this.#state)) return
    const expected = states.join(' or ')
    throw new VmmError(
      this.#state === 'closed' ? 'ERR_CLOSED' : 'ERR_STATE',
      `${method}() needs a machine that is ${expected}; this one is ${this.#state}`,
      { value: this.#state, expected },
    )
  }
}

async function openEngine(
  config: MachineConfig,
  cleanup: Cleanup,
  events: EngineEvents,
): Promise<Engine> {
  if (config.isolation === 'none') return await LocalEngine.create(config, cleanup, events)
  const { IsolatedEngine } = await import('./isolated/isolated-engine.js')
  return await IsolatedEngine.create(config, cleanup, events)
}
