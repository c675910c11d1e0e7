import { type Readable, Writable } from 'node:stream'
import type {
  Capture,
  CaptureOptions,
  CaptureTarget,
  NetBackend,
} from '../../backends/net/net-backend.js'
import {
  type BalloonStatistics,
  checkBalloonTarget,
} from '../../devices/virtio/balloon/virtio-balloon.js'
import type { BlockLimitChange } from '../../devices/virtio/block/virtio-block.js'
import type { NetLimitChange } from '../../devices/virtio/net/virtio-net.js'
import { RateLimiter, setRateLimits } from '../../devices/virtio/rate-limiter.js'
import { invalidOption, VmmError } from '../../errors.js'
import type { Channel } from '../../isolation/channel.js'
import type { VmBalloon, VmConsolePort, VmDisk, VmNet, VmVirtioConsole } from '../device-handles.js'
import { awaitStop, type WaitLimits } from '../stop-limits.js'
import { checkHotSize, HOT_SIZE_LATE, type VmVirtioMem } from '../virtio-mem.js'
import type { VirtioMemConfig } from '../virtio-mem-options.js'
import { CONSOLE_PIECE, type Snapshot } from './protocol.js'

// What a program holds of a machine's devices where those are another process's: what they show is what that process has
// said last, and what is done to them it is told.

/** How a handle reaches its machine. */
export interface RemoteMachine {
  readonly channel: Channel
  readonly snapshot: Snapshot
}

/** A limit is checked here, so that what is wrong with it is told at once. */
function checkLimits(names: readonly string[], limits: object): void {
  setRateLimits(Object.fromEntries(names.map((name) => [name, new RateLimiter(name)])), limits)
}

export class RemoteDisk implements VmDisk {
  #last: Snapshot['disks'][number] | undefined

  constructor(
    readonly name: string,
    readonly machine: RemoteMachine,
  ) {}

  get engine(): string {
    return this.#now?.engine ?? ''
  }

  get counters(): VmDisk['counters'] {
    const none = { reads: 0, writes: 0, flushes: 0, discards: 0, errors: 0, dropped: 0 }
    return { ...none, ...this.#now?.counters }
  }

  setLimits(limits: BlockLimitChange): void {
    checkLimits(['rateLimit'], limits)
    this.machine.channel.send('setLimits', { device: this.name, limits })
  }

  /** After it is unplugged, what it was. */
  get #now() {
    this.#last = this.machine.snapshot.disks.find(({ name }) => name === this.name) ?? this.#last
    return this.#last
  }
}

export class RemoteNet implements VmNet {
  readonly #backend: NetBackend
  #last: Snapshot['nets'][number] | undefined
  /** What was wished for, until the machine tells what came of it. */
  #link: { readonly up: boolean; readonly until: Snapshot } | undefined

  constructor(
    readonly name: string,
    readonly machine: RemoteMachine,
    backend: NetBackend,
  ) {
    this.#backend = backend
  }

  get mac(): string {
    return this.#now?.mac ?? this.#backend.mac
  }

  get link(): boolean {
    if (this.#link && this.#link.until === this.machine.snapshot) return this.#link.up
    return this.#now?.link ?? false
  }

  get queuePairs(): number {
    return this.#now?.queuePairs ?? 1
  }

  get vhost(): boolean {
    return this.#now?.vhost ?? false
  }

  get announces(): boolean {
    return this.#now?.announces ?? false
  }

  get counters(): VmNet['counters'] {
    const none = {
      ...{ txFrames: 0, txDropped: 0, rxBuffers: 0, rxBytes: 0, rxDropped: 0 },
      ...{ controlCommands: 0, controlErrors: 0 },
    }
    return { ...none, ...this.#now?.counters }
  }

  setLink(up: boolean): void {
    if (typeof up !== 'boolean') throw invalidOption('up', up, 'true or false')
    this.#link = { up, until: this.machine.snapshot }
    this.machine.channel.send('setLink', { device: this.name, up })
  }

  setLimits(limits: NetLimitChange): void {
    checkLimits(['transmitLimit', 'receiveLimit'], limits)
    this.machine.channel.send('setLimits', { device: this.name, limits })
  }

  announce(): boolean {
    if (this.announces) this.machine.channel.send('announce', { device: this.name })
    return this.announces
  }

  capture(target: CaptureTarget, options?: CaptureOptions): Capture {
    const backend = this.#backend
    if (!backend.capture) throw new VmmError('ERR_STATE', `${backend.name} cannot be captured`)
    return backend.capture(target, options)
  }

  get #now() {
    this.#last = this.machine.snapshot.nets.find(({ name }) => name === this.name) ?? this.#last
    return this.#last
  }
}

/** What the guest reads: a write is done when it has taken it, or the machine's process is gone. */
export class RemoteInput extends Writable {
  constructor(channel: Channel, port: number | undefined) {
    super({
      highWaterMark: 16_384,
      decodeStrings: true,
      write: (chunk: Buffer, _encoding, done) => {
        const failed = (error: Error) => {
          this.destroy() // so that whoever wrote is told, and a program that listens for no error goes on
          done(error)
        }
        void send(chunk).then(() => done(), failed)
      },
    })
    const send = async (chunk: Buffer) => {
      for (let at = 0; at < chunk.length; at += CONSOLE_PIECE) {
        const piece = chunk.subarray(at, at + CONSOLE_PIECE)
        await channel.request('input', { port }, piece)
      }
    }
  }
}

export class RemoteVirtioConsole implements VmVirtioConsole {
  readonly ports: readonly VmConsolePort[]
  readonly #machine: RemoteMachine

  /** @param outputs what the guest writes, by port */
  constructor(
    machine: RemoteMachine,
    ports: readonly { readonly name: string; readonly output: Readable }[],
  ) {
    this.#machine = machine
    this.ports = ports.map(({ name, output }, index) => {
      const now = () => machine.snapshot.virtioConsole?.ports[index]
      return {
        ...{ name, output },
        input: new RemoteInput(machine.channel, index),
        get lost() {
          return now()?.lost ?? 0
        },
        get guestOpen() {
          return now()?.guestOpen ?? false
        },
      }
    })
  }

  get counters(): VmVirtioConsole['counters'] {
    const none = { outputBytes: 0, inputBytes: 0, dropped: 0 }
    return { ...none, ...this.#machine.snapshot.virtioConsole?.counters }
  }

  resize(columns: number, rows: number): void {
    this.#machine.channel.send('resize', { columns, rows })
  }
}

export class RemoteVirtioMem implements VmVirtioMem {
  readonly maxSize: number
  readonly blockSize: number
  readonly #machine: RemoteMachine

  constructor({ maxSize, blockSize }: VirtioMemConfig, machine: RemoteMachine) {
    this.maxSize = maxSize
    this.blockSize = blockSize
    this.#machine = machine
  }

  get requested(): number {
    return this.#machine.snapshot.virtioMem?.requested ?? 0
  }

  get plugged(): number {
    return this.#machine.snapshot.virtioMem?.plugged ?? 0
  }

  get counters(): VmVirtioMem['counters'] {
    const none = { acknowledged: 0, refused: 0, busy: 0, errors: 0, dropped: 0 }
    return { ...none, ...this.#machine.snapshot.virtioMem?.counters }
  }

  async resize(size: number | string, limits: WaitLimits = {}): Promise<void> {
    const bytes = checkHotSize(size, this)
    const done = this.#machine.channel.request('resizeMemory', { size: bytes })
    done.catch(() => {}) // whoever waits is told; nobody may be waiting any more
    await awaitStop(done, limits, HOT_SIZE_LATE)()
  }
}

export class RemoteBalloon implements VmBalloon {
  readonly #machine: RemoteMachine
  #target = 0

  constructor(machine: RemoteMachine) {
    this.#machine = machine
  }

  get actual(): number {
    return this.#machine.snapshot.balloon?.actual ?? 0
  }

  get target(): number {
    return this.#target
  }

  set target(bytes: number) {
    checkBalloonTarget(bytes)
    this.#target = bytes
    this.#machine.channel.send('balloon', { target: bytes })
  }

  get counters(): VmBalloon['counters'] {
    const none = { discardedPages: 0, reportedPages: 0, dropped: 0 }
    return { ...none, ...this.#machine.snapshot.balloon?.counters }
  }

  async statistics(): Promise<BalloonStatistics> {
    const { value } = await this.#machine.channel.request('balloonStatistics')
    return checkStatistics(value)
  }
}

function checkStatistics(given: unknown): BalloonStatistics {
  const entries = Object.entries((given ?? {}) as object).slice(0, 64)
  return Object.fromEntries(
    entries.filter(([, value]) => typeof value === 'number'),
  ) as BalloonStatistics
}
