import { binding, type NativeExitChannel } from '../binding.js'
import type { Bus } from '../bus/bus.js'
import {
  KVM_EXIT_DEBUG,
  KVM_EXIT_HLT,
  KVM_EXIT_IO,
  KVM_EXIT_IOAPIC_EOI,
  KVM_EXIT_MMIO,
} from '../kvm/abi/exits.js'
import type { RunPage } from '../kvm/run-page.js'
import type { VcpuFd } from '../kvm/vcpu-fd.js'
import { type ExitMessage, exitChannel } from '../util/diagnostics.js'
import { Settled } from '../util/settled.js'
import { crashSite } from './crash-site.js'
import { describeAccess, describeExit } from './describe-access.js'
import { type CoalescingZones, DeviceRoutes } from './device-routes.js'
import { type ExitCounts, sumExitCounts } from './exit-stats.js'
import { endingOfDeviceError, endingOfErrno, endingOfExit, type RunEnding } from './run-ending.js'
import { serveIo, serveMmio } from './serve-exit.js'

/** What {@link RunLoop} takes. */
export interface RunLoopOptions {
  /** The machine's name, for those who watch its exits. */
  name?: string
  /** Who answers ports. */
  pio: Bus
  /** Who answers guest-physical addresses without memory. */
  mmio: Bus
  /**
   * Called at most once, from the event loop: the guest has ended, its threads have been joined, and what it wrote before
   * has reached the devices. Not called for `stop()` and `close()`. What it throws is an uncaught exception.
   */
  onEnd: (ending: RunEnding) => void
  /**
   * Microseconds for which a vCPU waits for its answer, and this thread for another exit, before they sleep: 0 to 1000,
   * 50 unless told. Both wait less while exits are rare.
   */
  spinMicroseconds?: number
  /** Where KVM may collect writes that devices allow it to. Each exits unless told. */
  coalescing?: CoalescingZones
  /** Told of KVM_EXIT_IOAPIC_EOI, with the vector, where the IOAPIC is not KVM's. */
  onIoapicEoi?: ((vector: number) => void) | undefined
}

/** How one vCPU's exits were handled. */
export interface VcpuCounters {
  /** Returns of KVM_RUN with something to handle: the sum of the next three, but for the few that concern nobody. */
  exits: number
  /** Reads answered by a latch. */
  latched: number
  /** Exits by writes (a string instruction counts once) that the guest did not wait for. */
  posted: number
  /** Exits answered here. */
  synchronous: number
  /** Returns of KVM_RUN because of a signal. */
  kicks: number
  /** Times the vCPU waited because too many writes were posted. */
  full: number
}

interface Counted {
  readonly vcpus: VcpuCounters[]
  readonly exits: ExitCounts
  readonly coalesced: number
}

/** What `next()` returns besides an index. */
const IDLE = -1
const YIELD = -2
const POSTED_ONLY = -3
/** Words of the mailbox. */
const POSTED_COUNT = 0
const RUN_ERRNO = 1
const POSTED = 4
const WORDS_PER_POST = 4

/**
 * Runs the vCPUs of one machine on threads of their own and takes their exits to the devices on this thread's two buses.
 *
 * A device sees what the guest does in the guest's order: writes that were posted reach it before any later access of
 * any vCPU that waits for an answer. Of each turn of the event loop this takes about 250 µs at most.
 */
export class RunLoop implements Disposable {
  readonly #channel: NativeExitChannel
  readonly #next: (answered: number) => number
  readonly #mailbox: Uint32Array
  readonly #routes: DeviceRoutes
  readonly #pio: Bus
  readonly #mmio: Bus
  readonly #onEnd: (ending: RunEnding) => void
  readonly #name: string
  readonly #onIoapicEoi: ((vector: number) => void) | undefined
  readonly #vcpus: { readonly vcpu: VcpuFd; readonly page: RunPage }[] = []
  /** The vCPU to let go on by the next `next()`. */
  #answered = IDLE
  #halted = 0
  #running = false
  #ended = false
  #reported = false
  #delivering = false
  #ref = true
  #pausing: Settled<void> | undefined
  /** What was counted when the loop was closed. */
  #final: Counted | undefined

  /** @throws VmmError `ERR_INVALID_OPTION` for a spin out of range, `ERR_ADDON` or `ERR_PLATFORM` without the addon */
  constructor(options: RunLoopOptions) {
    this.#pio = options.pio
    this.#mmio = options.mmio
    this.#onEnd = options.onEnd
    this.#onIoapicEoi = options.onIoapicEoi
    this.#name = options.name ?? ''
    const channel = new (binding().ExitChannel)()
    this.#channel = channel
    try {
      if (options.spinMicroseconds !== undefined) channel.setSpin(options.spinMicroseconds)
      this.#next = channel.next
      this.#mailbox = new Uint32Array(channel.mailbox)
      this.#routes = new DeviceRoutes(channel, [options.pio, options.mmio], options.coalescing)
    } catch (error) {
      channel.close()
      throw error
    }
  }

  /**
   * Gives a vCPU a thread. It runs from the next `run()` on. Returns its index, 0 for the first.
   * @param nice by how much the thread's nice value is above that of this one, 0 to 19
   * @throws VmmError `ERR_INVALID_OPTION` for a `nice` out of range, `ERR_CLOSED`, `ERR_STATE` after the end or for a vCPU
   *   that is here already; KvmError `EAGAIN` if the host has no thread left
   */
  addVcpu(vcpu: VcpuFd, nice = 0): number {
    const index = this.#channel.addVcpu(vcpu.native, nice)
    this.#vcpus[index] = { vcpu, page: vcpu.runPage }
    return index
  }

  /**
   * Starts or resumes every vCPU, or those with the indices in `only`. Meanwhile the event loop stays alive, unless
   * `unref()` was called.
   * @throws VmmError `ERR_STATE` after the end, `ERR_CLOSED` after `close()`, `ERR_VCPU_RUNNING` if someone else runs one
   */
  run(only?: readonly number[]): void {
    this.#channel.run(this.#pump, only && Uint32Array.from(only))
    this.#running = true
    this.#settlePause()
  }

  /**
   * Takes every vCPU out of the guest, and resolves when no instruction is half done and every write has reached its
   * device: then registers and devices can be read. Resolves too if the guest ends, or `run()` is called, meanwhile.
   */
  pause(): Promise<void> {
    if (!this.#running || this.#ended) return this.#pausing?.promise ?? Promise.resolve()
    this.#running = false
    this.#pausing = new Settled()
    const { promise } = this.#pausing
    this.#channel.pause()
    // All may be parked already, and then nobody calls. Later, so that no device is called from here.
    queueMicrotask(() => this.#rest())
    return promise
  }

  /** Ends every vCPU at once, wherever it is; it cannot run again. What the guest has written before reaches its device. */
  stop(): void {
    if (this.#ended) return
    this.#ended = true
    this.#halt()
    // From within a posted write's handler: what comes after it, comes after the end.
    const failed = this.#delivering ? undefined : this.#takePosted()
    if (failed !== undefined) queueMicrotask(() => this.#report(failed))
  }

  /** `stop()`, and gives everything back. May be called again, and from within a device's method. */
  close(): void {
    if (this.#final !== undefined) return
    this.stop()
    this.#final = {
      vcpus: this.counters(),
      exits: this.exitCounts(),
      coalesced: this.coalesced,
    }
    this.#routes.close()
    this.#channel.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** Called for KVM_EXIT_DEBUG; without it that ends the guest. */
  onDebugExit: ((vcpu: number, page: RunPage) => void) | undefined

  /** The vCPU whose synchronous exit is, or was last, served. */
  serving = 0

  /** Whether `stop()` was called, or the guest has ended. */
  get ended(): boolean {
    return this.#ended
  }

  /** One entry for each vCPU, by index. */
  counters(): VcpuCounters[] {
    return (
      this.#final?.vcpus ??
      this.#vcpus.map((_vcpu, index) => {
        const [exits, latched, posted, synchronous, kicks, full] = this.#channel.counters(index)
        return {
          exits: exits!,
          latched: latched!,
          posted: posted!,
          synchronous: synchronous!,
          kicks: kicks!,
          full: full!,
        }
      })
    )
  }

  /** Writes that reached their device without an exit. */
  get coalesced(): number {
    return this.#final?.coalesced ?? this.#channel.coalesced
  }

  /** What the vCPUs exited for, all together. */
  exitCounts(): ExitCounts {
    return (
      this.#final?.exits ??
      sumExitCounts(this.#vcpus.map((_vcpu, index) => this.#channel.exitCounts(index)))
    )
  }

  /**
   * Pins a vCPU's thread to host CPUs.
   * @throws VmmError `ERR_INVALID_OPTION`; KvmError `EINVAL` if the host has none of them
   */
  setAffinity(index: number, cpus: readonly number[]): void {
    this.#channel.setAffinity(index, Uint32Array.from(cpus))
  }

  /** Running vCPUs keep the event loop alive: the default. */
  ref(): void {
    this.#ref = true
    this.#channel.ref()
  }

  /** The process may end while vCPUs run, if nothing else keeps it alive. */
  unref(): void {
    this.#ref = false
    this.#channel.unref()
  }

  /** Handles exits until there are none, the guest has ended, or the event loop should have a turn. */
  readonly #pump = (): void => {
    while (!this.#ended) {
      const index = this.#next(this.#answered)
      this.#answered = IDLE
      let ending = this.#mailbox[POSTED_COUNT] === 0 ? undefined : this.#deliverPosted()
      if (ending === undefined && !this.#ended) {
        if (index === IDLE) {
          this.#rest()
          return
        }
        if (index === YIELD) {
          this.#continueLater()
          return
        }
        if (index === POSTED_ONLY) continue
        ending = exitChannel.hasSubscribers ? this.#serveWatched(index) : this.#serve(index)
      }
      if (ending !== undefined) this.#end(ending)
    }
  }

  #continueLater(): void {
    const immediate = setImmediate(this.#pump)
    if (!this.#ref) immediate.unref()
  }

  #serve(index: number): RunEnding | undefined {
    this.serving = index
    const errno = this.#mailbox[RUN_ERRNO]!
    if (errno !== 0) return endingOfErrno(index, errno)
    const { vcpu, page } = this.#vcpus[index]!
    const reason = page.exitReason
    try {
      if (reason === KVM_EXIT_IO) serveIo(page, this.#pio)
      else if (reason === KVM_EXIT_MMIO) serveMmio(page, this.#mmio)
      else if (reason === KVM_EXIT_IOAPIC_EOI && this.#onIoapicEoi)
        this.#onIoapicEoi(page.eoiVector)
      else if (reason === KVM_EXIT_HLT) return this.#hold(index)
      else if (reason === KVM_EXIT_DEBUG && this.onDebugExit) this.onDebugExit(index, page)
      else return endingOfExit(index, page.exit(), () => crashSite(vcpu))
    } catch (error) {
      return endingOfDeviceError(describeExit(page, this.#pio, this.#mmio), error)
    }
    this.#answered = index
    return undefined
  }

  /** {@link #serve}, and tells who listens to `node-kvm:exit`. */
  #serveWatched(vcpu: number): RunEnding | undefined {
    const { page } = this.#vcpus[vcpu]!
    const reason = page.exitReason
    const isAccess = reason === KVM_EXIT_IO || reason === KVM_EXIT_MMIO
    const access = isAccess ? describeExit(page, this.#pio, this.#mmio) : ''
    const start = performance.now()
    const ending = this.#serve(vcpu)
    const message = { machine: this.#name, vcpu, reason, access, start, end: performance.now() }
    exitChannel.publish(message satisfies ExitMessage)
    return ending
  }

  /** Nothing can wake a vCPU that halts without an interrupt controller in the kernel. */
  #hold(index: number): RunEnding | undefined {
    this.#channel.hold(index)
    this.#halted++
    if (this.#halted < this.#vcpus.length) return undefined
    return { kind: 'halted', detail: 'every vCPU has halted and nothing can wake one' }
  }

  /** Hands what the mailbox holds to the devices. */
  #deliverPosted(): RunEnding | undefined {
    const mailbox = this.#mailbox
    const end = POSTED + mailbox[POSTED_COUNT]! * WORDS_PER_POST
    const endedBefore = this.#ended
    let at = POSTED
    this.#delivering = true
    try {
      for (; at < end && this.#ended === endedBefore; at += WORDS_PER_POST) {
        const route = this.#routes.find(mailbox[at]!)
        if (route === undefined) continue
        const offset = mailbox[at + 1]!
        route.range.device.write(offset, mailbox[at + 2] as 1 | 2 | 4, mailbox[at + 3]!)
        this.#routes.handled(route, offset)
      }
    } catch (error) {
      const range = this.#routes.find(mailbox[at]!)?.range
      const [, offset, width] = mailbox.subarray(at)
      return endingOfDeviceError(describeAccess(range, 'write', width!, offset!), error)
    } finally {
      this.#delivering = false
    }
    return undefined
  }

  #takePosted(): RunEnding | undefined {
    return this.#channel.takePosted() === 0 ? undefined : this.#deliverPosted()
  }

  /** Also for what a device throws after it has called `stop()`: that would be lost otherwise. */
  #end(ending: RunEnding): void {
    if (!this.#ended) {
      this.#ended = true
      this.#halt()
      // After a device has failed, none is told any more.
      if (ending.kind !== 'device-error') ending = this.#takePosted() ?? ending
    }
    this.#report(ending)
  }

  #report(ending: RunEnding): void {
    if (this.#reported) return
    this.#reported = true
    this.#onEnd(ending)
  }

  #halt(): void {
    this.#running = false
    this.#channel.stop()
    this.#settlePause()
  }

  /** There is nothing to do; if that is because all vCPUs are parked, a pause is complete. */
  #rest(): void {
    if (this.#ended || this.#pausing === undefined || !this.#channel.parked) return
    // A vCPU may have posted after the last look, and parked since.
    const ending = this.#takePosted()
    if (ending !== undefined) this.#end(ending)
    else this.#settlePause()
  }

  #settlePause(): void {
    const pausing = this.#pausing
    this.#pausing = undefined
    pausing?.resolve()
  }
}
