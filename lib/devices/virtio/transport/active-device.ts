import { asError } from '../../../errors.js'
import type { GuestMemory } from '../../../memory/guest-memory.js'
import type { FeatureBits } from '../abi.js'
import type { GuestAccess } from '../queue/guest-access.js'
import type { Virtqueue } from '../queue/virtqueue.js'
import type { DeviceContext, QueueHandle, VirtioDevice } from '../virtio-device.js'
import type { DeviceControlEvents } from './device-control.js'
import { activateQueue, brokenQueueRule } from './queue-activation.js'
import type { QueueSetup } from './queue-setup.js'

/** What an {@link ActiveDevice} is made of. */
export interface ActiveDeviceParts {
  readonly device: VirtioDevice
  /** What the driver has set up, by index: usable by {@link brokenQueueRule}. */
  readonly setups: readonly QueueSetup[]
  readonly driverFeatures: FeatureBits
  readonly memory: GuestMemory
  readonly access: GuestAccess
  readonly events: DeviceControlEvents
  /** Calls the device; what it throws is its failure. */
  readonly guard: <T>(call: () => T) => T | undefined
  readonly needsReset: (reason: string) => void
  readonly fail: (error: Error) => void
}

/**
 * A device from DRIVER_OK to its reset: its virtqueues, the resets of single ones (2.6.1), and what is left for later turns
 * of the event loop.
 */
export class ActiveDevice {
  readonly #parts: ActiveDeviceParts
  readonly #queues: (Virtqueue | undefined)[]
  /** Queues that the driver has reset by themselves: `true` while that is waiting for I/O, `false` until they are ready again. */
  readonly #queueResets = new Map<number, boolean>()
  readonly #scheduled = new Set<number>()
  #ended = false

  constructor(parts: ActiveDeviceParts) {
    this.#parts = parts
    this.#queues = parts.setups.map((_, index) => this.#openQueue(index))
  }

  /** Tells the device that the driver is ready. */
  start(): void {
    const { device, guard } = this.#parts
    guard(() => device.activate(this.#context()))
    // Chains made available before DRIVER_OK have had their kick, or never get one.
    for (const queue of this.#queues) if (queue) this.#schedule(queue.index)
  }

  /** Nothing of the device is heard any more, but of its failures. */
  end(): void {
    this.#ended = true
    this.#scheduled.clear()
    this.stopQueues()
  }

  /** No ring is touched any more. */
  stopQueues(): void {
    for (const queue of this.#queues) queue?.stop()
  }

  /** The driver kicked a queue. Ignored for one that is not there. */
  notify(queueIndex: number): void {
    const { device, memory, guard } = this.#parts
    if (memory.closed || this.#queues[queueIndex] === undefined) return
    if (guard(() => device.notify(queueIndex))) this.#schedule(queueIndex)
  }

  /**
   * Stops one queue and forgets its setup.
   * @returns `false`, and does nothing, for a queue that is not there
   */
  resetQueue(queueIndex: number): boolean {
    const { device, setups, guard } = this.#parts
    const queue = this.#queues[queueIndex]
    if (queue === undefined) return false
    queue.stop()
    this.#queues[queueIndex] = undefined
    this.#scheduled.delete(queueIndex)
    setups[queueIndex]!.reset()
    const draining = guard(() => device.resetQueue?.(queueIndex))
    this.#queueResets.set(queueIndex, draining instanceof Promise)
    if (draining instanceof Promise) {
      void draining
        .catch((error: unknown) => this.#fail(asError(error)))
        .then(() => this.#queueResets.set(queueIndex, false))
    }
    return true
  }

  /** A queue's reset is waiting for I/O that may still write guest memory. */
  queueResetting(queueIndex: number): boolean {
    return this.#queueResets.get(queueIndex) === true
  }

  /** A queue's reset is done, and the driver may set it up again. */
  queueOpen(queueIndex: number): boolean {
    return this.#queueResets.get(queueIndex) === false
  }

  /** The driver has set up a queue again that was {@link queueOpen}. */
  activateQueue(queueIndex: number): void {
    const { device, setups, driverFeatures, memory, guard } = this.#parts
    this.#queueResets.delete(queueIndex)
    const rule = brokenQueueRule(setups, driverFeatures, memory)
    if (rule !== undefined) {
      this.#parts.needsReset(`queue ${queueIndex}: ${rule}`)
      return
    }
    this.#queues[queueIndex] = this.#openQueue(queueIndex)
    guard(() => device.activateQueue?.(queueIndex))
    this.#schedule(queueIndex)
  }

  #openQueue(index: number): Virtqueue | undefined {
    const { setups, driverFeatures, access, events, needsReset } = this.#parts
    return activateQueue(index, setups[index]!, driverFeatures, access, {
      interrupt: (queueIndex) => events.queueInterrupt(queueIndex),
      broken: (queueIndex, rule) => needsReset(`queue ${queueIndex}: ${rule}`),
    })
  }

  #context(): DeviceContext {
    const { device, driverFeatures, memory, events, needsReset } = this.#parts
    return {
      memory,
      features: driverFeatures & device.features,
      driverFeatures,
      queues: this.#queues,
      handOver: (queueIndex, moved) => this.#handOver(queueIndex, moved),
      configChanged: () => {
        if (!this.#ended) events.configInterrupt()
      },
      schedule: (queueIndex) => this.#schedule(queueIndex),
      needsReset: (reason) => {
        if (!this.#ended) needsReset(reason)
      },
      fail: (error) => this.#fail(error),
    }
  }

  #fail(error: Error): void {
    if (this.#ended) this.#parts.events.failed?.(error)
    else this.#parts.fail(error)
  }

  #schedule(queueIndex: number): void {
    if (this.#ended || this.#scheduled.has(queueIndex)) return
    this.#scheduled.add(queueIndex)
    setImmediate(() => {
      if (this.#scheduled.delete(queueIndex)) this.notify(queueIndex)
    })
  }

  #handOver(queueIndex: number, moved: () => void): QueueHandle | undefined {
    const { events, setups } = this.#parts
    const queue = this.#queues[queueIndex]
    if (this.#ended || queue === undefined) return undefined
    const lines = events.takeLines?.(queueIndex, moved)
    return {
      index: queueIndex,
      geometry: setups[queueIndex]!.geometry(),
      get kick() {
        return lines?.kick
      },
      get call() {
        return lines?.call
      },
      interrupt: () => {
        if (!this.#ended && this.#queues[queueIndex] === queue) events.queueInterrupt(queueIndex)
      },
      release: () => lines?.release(),
    }
  }
}
