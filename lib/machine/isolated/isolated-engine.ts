import { VmmError } from '../../errors.js'
import { Channel } from '../../isolation/channel.js'
import type { ChannelStream } from '../../isolation/channel-stream.js'
import { type Content, violation } from '../../isolation/frames.js'
import type { GuestMemory } from '../../memory/guest-memory.js'
import type { Cleanup } from '../../util/cleanup.js'
import { joinStreams } from '../../util/join-streams.js'
import { Settled } from '../../util/settled.js'
import type { Engine, EngineEvents } from '../engine.js'
import type { MachineConfig } from '../machine-config.js'
import { openBridge } from '../open-backends.js'
import * as check from '../option-checks.js'
import type { WaitLimits } from '../stop-limits.js'
import { describeStopReason, type StopReason } from '../stop-reason.js'
import type { GdbStub } from '../vm-gdb.js'
import type { VmStatistics } from '../vm-stats.js'
import { BackendServers } from './backend-servers.js'
import { checkSnapshot } from './check-snapshot.js'
import { MachineProcess } from './machine-process.js'
import { ConsolePorts, openHandles, type RemoteHandles } from './open-handles.js'
import type { Snapshot } from './protocol.js'
import type { RemoteMachine } from './remote-handles.js'
import { RemoteHotPlug } from './remote-hot-plug.js'
import { shipConfig } from './ship-config.js'
import { stopReasonFromForm } from './stop-reason-form.js'
import { checkWarning } from './warning-form.js'

/** Milliseconds that the machine's process has to end its guest, and to answer what takes no time. */
const END_PATIENCE = 2000
const ANSWER_PATIENCE = 30_000
/** Warnings that are passed on in a second; a machine's process that has more of them is not heard. */
const WARNINGS_MAX = 100

const checkOutput = check.object({ from: check.oneOf('console', 'debugcon') })
/** A machine in a process of its own. Nothing here waits for that process without a limit, nor believes what it says. */
export class IsolatedEngine implements Engine, RemoteMachine {
  readonly handles: RemoteHandles
  readonly gdb: GdbStub
  readonly channel: Channel
  readonly #process: MachineProcess
  readonly #events: EngineEvents
  readonly #hotPlug: RemoteHotPlug
  readonly #finished = new Settled<void>()
  readonly #memory: GuestMemory | undefined
  #snapshot: Snapshot
  #running = false
  #referenced = true
  #ended = false
  #requests = 0
  #warnings = 0
  #warningsSince = 0

  private constructor(config: MachineConfig, parts: IsolatedParts, snapshot: Snapshot) {
    const { channel, process, events, servers, plugged, ports, memory } = parts
    this.channel = channel
    this.#memory = memory
    this.#process = process
    this.#events = events
    this.#snapshot = snapshot
    this.handles = openHandles(config, this, ports)
    this.#hotPlug = new RemoteHotPlug({
      ...{ machine: this, handles: this.handles, servers, cleanup: plugged },
      request: (name, value) => this.#request(name, value),
    })
    this.gdb = {
      serve: async (client) => {
        const remote = channel.open('gdb')
        joinStreams(client, remote)
        await new Promise((resolve) => remote.once('close', resolve))
      },
      hold: async () => void (await this.#soon('gdb.hold')),
      release: () => channel.send('gdb.release'),
    }
  }

  /**
   * @param program what runs in the process, in place of the machine
   * @throws VmmError `ERR_ISOLATION` if the process cannot be had; and what creating a machine throws
   */
  static async create(
    config: MachineConfig,
    cleanup: Cleanup,
    events: EngineEvents,
    program?: string,
  ): Promise<IsolatedEngine> {
    let channel: Channel | undefined
    let engine: IsolatedEngine | undefined
    const servers = new BackendServers((name, value) => channel?.send(name, value))
    const { form, fds, files, memory } = await shipConfig(config, servers, cleanup)
    const plugged = cleanup.child()
    const process = new MachineProcess(files, fds, program)
    const ports = new ConsolePorts()
    const opened = (name: string, content: Content, stream: ChannelStream) => {
      if (name === 'net') servers.opened(content, stream)
      else if (name === 'accepted' && engine?.handles.vsock)
        engine.handles.vsock.accepted(content, stream)
      else if (name === 'port') ports.take(content, stream)
      else throw violation(`a stream called ${name}`)
    }
    channel = new Channel(process.connection, {
      message: (name, content) => engine?.takeMessage(name, content),
      request: (name, content) => servers.request(name, content),
      opened,
      closed: (error) => {
        process.kill()
        void process.ended.then((how) => engine?.lost(error ?? died(how)))
      },
    })
    cleanup.defer(async () => {
      // It may still have I/O to end.
      channel.send('close')
      await process.stop()
      channel.close()
    })
    const giveUp = () => process.kill()
    config.signal?.addEventListener('abort', giveUp)
    try {
      process.ref()
      const { value } = await channel.request('create', form)
      const snapshot = checkSnapshot(value)
      const parts = { channel, process, events, servers, plugged, ports, memory }
      engine = new IsolatedEngine(config, parts, snapshot)
      const path = config.vsock?.unixSocket
      const { vsock } = engine.handles
      if (vsock && path !== undefined) await openBridge(vsock, path, cleanup)
      return engine
    } catch (error) {
      config.signal?.throwIfAborted()
      throw channel.closed ? died(await process.ended) : error
    } finally {
      config.signal?.removeEventListener('abort', giveUp)
      process.unref()
    }
  }

  get memory(): GuestMemory {
    if (this.#memory) return this.#memory
    const expected = "'memfd', which processes share, to reach the guest's memory"
    throw new VmmError('ERR_STATE', "the guest's memory is that of another process", {
      ...{ option: 'memory.kind', expected },
    })
  }

  get settled(): Promise<void> {
    return this.#finished.promise
  }

  get snapshot(): Snapshot {
    return this.#snapshot
  }

  get pid(): number {
    return this.#process.pid
  }

  stats(): VmStatistics {
    return structuredClone(this.#snapshot.stats)
  }

  run(): void {
    this.#running = true
    this.channel.send('run')
    this.#keepAlive()
  }

  async pause(): Promise<void> {
    this.#running = false
    await this.#soon('pause')
  }

  pressPowerButton(): void {
    this.channel.send('powerButton')
  }

  async reset(): Promise<void> {
    await this.#request('reset')
  }

  plugDisk(disk: unknown) {
    return this.#hotPlug.plugDisk(disk)
  }

  plugNet(net: unknown) {
    return this.#hotPlug.plugNet(net)
  }

  unplug(device: unknown, limits: WaitLimits) {
    return this.#hotPlug.unplug(device, limits)
  }

  end(reason: StopReason): void {
    this.#running = false
    this.handles.endAgent(describeStopReason(reason))
    if (this.#ended || this.channel.closed) this.#finish()
    else {
      const timer = setTimeout(() => this.#process.kill(), END_PATIENCE)
      void this.#request('end')
        .catch(() => {})
        .finally(() => {
          clearTimeout(timer)
          this.#finish()
        })
    }
    this.#keepAlive()
  }

  ref(): void {
    this.#referenced = true
    this.#keepAlive()
  }

  unref(): void {
    this.#referenced = false
    this.#keepAlive()
  }

  /** The process is gone: the machine with it, unless that has ended before. */
  lost(error: Error): void {
    if (this.#ended) return
    this.#ended = true
    this.#events.onEnd({ kind: 'error', error })
  }

  /** @throws VmmError for a message that is none */
  takeMessage(name: string, content: Content): void {
    const { value, bytes } = content
    const { console, debugcon, vsock } = this.handles
    switch (name) {
      case 'output': {
        const { from } = checkOutput(value, 'output')
        const output = from === 'console' ? console.output : debugcon
        for (const byte of bytes) output?.put(byte)
        return
      }
      case 'state':
        this.#snapshot = checkSnapshot(value)
        return
      case 'warning':
        this.#warn(value)
        return
      case 'reset':
        this.#events.onReset()
        return
      case 'connected':
        vsock?.connected(content)
        return
      case 'stopped': {
        const reason = stopReasonFromForm(value)
        if (this.#ended) return
        this.#ended = true
        this.#events.onEnd(reason)
        return
      }
      default:
        throw violation(`a message called ${name}`)
    }
  }

  #warn(value: unknown): void {
    const warning = checkWarning(value)
    const now = performance.now()
    if (now - this.#warningsSince > 1000) {
      this.#warningsSince = now
      this.#warnings = 0
    }
    if (this.#warnings++ < WARNINGS_MAX) this.#events.onWarning(warning)
  }

  #finish(): void {
    this.handles.console.output.end()
    this.handles.debugcon?.end()
    this.#finished.resolve()
    this.#keepAlive()
  }

  /** A request that a machine's process answers in time, whatever its guest does. */
  async #soon(name: string): Promise<void> {
    const timer = setTimeout(() => this.#process.kill(), ANSWER_PATIENCE)
    try {
      await this.#request(name)
    } finally {
      clearTimeout(timer)
    }
  }

  async #request(name: string, value?: unknown): Promise<Content> {
    this.#requests++
    this.#keepAlive()
    try {
      return await this.channel.request(name, value)
    } finally {
      this.#requests--
      this.#keepAlive()
    }
  }

  #keepAlive(): void {
    if (this.#requests > 0 || (this.#running && this.#referenced && !this.#ended))
      this.#process.ref()
    else this.#process.unref()
  }
}

interface IsolatedParts {
  readonly channel: Channel
  readonly process: MachineProcess
  readonly events: EngineEvents
  readonly servers: BackendServers
  /** Of devices that are plugged in later. */
  readonly plugged: Cleanup
  readonly ports: ConsolePorts
  readonly memory: GuestMemory | undefined
}

function died(how: string): VmmError {
  return new VmmError('ERR_ISOLATION', `the machine's process ${how}`)
}
