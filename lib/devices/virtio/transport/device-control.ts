import { asError } from '../../../errors.js'
import type { GuestMemory } from '../../../memory/guest-memory.js'
import { readLittleEndian } from '../../../util/bits.js'
import {
  type FeatureBits,
  featureBits,
  hasFeature,
  VIRTIO_CONFIG_S_ACKNOWLEDGE,
  VIRTIO_CONFIG_S_DRIVER,
  VIRTIO_CONFIG_S_DRIVER_OK,
  VIRTIO_CONFIG_S_FAILED,
  VIRTIO_CONFIG_S_FEATURES_OK,
  VIRTIO_CONFIG_S_NEEDS_RESET,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_VERSION_1,
} from '../abi.js'
import { GuestAccess } from '../queue/guest-access.js'
import type { Virtqueue, VirtqueueEvents } from '../queue/virtqueue.js'
import type { DeviceContext, QueueHandle, VirtioDevice } from '../virtio-device.js'
import { statusStep } from './device-status.js'
import { activateQueue, brokenQueueRule } from './queue-activation.js'
import type { QueueLines } from './queue-lines.js'
import { QueueSetup } from './queue-setup.js'

/** The transport's side of a {@link DeviceControl}: how the driver is interrupted, and who is told of trouble. */
export interface DeviceControlEvents {
  /** A used buffer notification of one queue. */
  queueInterrupt(queueIndex: number): void
  /** A configuration change notification. */
  configInterrupt(): void
  /** Eventfds of one queue, whose ring is given away until they are released. Absent: there are none. */
  takeLines?(queueIndex: number, moved: () => void): QueueLines
  /** The device will do nothing until the driver resets it. */
  needsReset?(reason: string): void
  /** The device model threw. */
  failed?(error: Error): void
}

/** What a transport may choose for its device. */
export interface DeviceControlOptions {
  /** Offer packed virtqueues (VIRTIO_F_RING_PACKED) besides split ones. `false` unless told. */
  readonly packed?: boolean
  /** Offer VIRTIO_F_IN_ORDER, if the device is one for it: {@link VirtioDevice.inOrder}. `false` unless told. */
  readonly inOrder?: boolean
}

/** Ring features, offered for every device alike. */
const RING_FEATURES = featureBits(VIRTIO_F_VERSION_1, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX)

/**
 * What every transport's registers act on: device status, feature negotiation, queue setup and configuration space
 * (virtio 1.2, chapters 2 and 3). Knows no register layout. No method throws for what a driver writes.
 */
export class DeviceControl {
  /** What is behind the registers. */
  readonly device: VirtioDevice
  /** What the driver has set up, by index. */
  readonly queues: readonly QueueSetup[]
  /** What is offered: the device's and the transport's. */
  readonly deviceFeatures: FeatureBits

  readonly #memory: GuestMemory
  readonly #access: GuestAccess
  readonly #events: DeviceControlEvents
  readonly #queueEvents: VirtqueueEvents
  #configGeneration = 0
  /** The configuration space when its generation was last asked for. */
  #configSeen: Uint8Array
  #status = 0
  #driverFeatures: FeatureBits = 0n
  #virtqueues: (Virtqueue | undefined)[] = []
  /** Queues that the driver has reset by themselves: `true` while that is waiting for I/O, `false` until they are ready again. */
  readonly #queueResets = new Map<number, boolean>()
  #context: DeviceContext | undefined
  #resetting: Promise<void> | undefined
  #scheduled = new Set<number>()
  #closed = false

  constructor(
    device: VirtioDevice,
    memory: GuestMemory,
    events: DeviceControlEvents,
    options: DeviceControlOptions = {},
  ) {
    device.attach?.(memory)
    this.device = device
    const ringFeatures =
      RING_FEATURES |
      (options.packed ? featureBits(VIRTIO_F_RING_PACKED) : 0n) |
      (options.inOrder && device.inOrder ? featureBits(VIRTIO_F_IN_ORDER) : 0n)
    this.deviceFeatures =
      device.features |
      (ringFeatures & (device.ringFeatures ?? ringFeatures)) |
      (device.resetQueue ? featureBits(VIRTIO_F_RING_RESET) : 0n)
    this.queues = device.queueSizes.map((maxSize) => new QueueSetup(maxSize))
    this.#memory = memory
    this.#access = new GuestAccess(memory)
    this.#events = events
    this.#configSeen = device.config.slice()
    this.#queueEvents = {
      interrupt: (queueIndex) => events.queueInterrupt(queueIndex),
      broken: (queueIndex, reason) => this.#needsReset(`queue ${queueIndex}: ${reason}`),
    }
  }

  /** VIRTIO_CONFIG_S_*. */
  get status(): number {
    return this.#status
  }

  /** Another number whenever the configuration space has changed since it was last asked for (2.5.1). */
  get configGeneration(): number {
    const { config } = this.device
    if (!config.every((byte, i) => byte === this.#configSeen[i])) {
      this.#configGeneration = (this.#configGeneration + 1) >>> 0
      this.#configSeen = config.slice()
    }
    return this.#configGeneration
  }

  /** Whether the driver has set VIRTIO_CONFIG_S_DRIVER_OK. */
  get driverOk(): boolean {
    return (this.#status & VIRTIO_CONFIG_S_DRIVER_OK) !== 0
  }

  /** A reset is waiting for I/O that may still write guest memory. The status reads as before until it is done. */
  get resetting(): boolean {
    return this.#resetting !== undefined
  }

  /**
   * Whether the driver may set up a queue now (4.2.3.2, 4.1.4.3.2): its geometry is frozen once DRIVER_OK is set, and
   * again once a queue that was reset by itself is ready.
   */
  queueOpen(queueIndex: number): boolean {
    if (this.#resetting !== undefined || this.queues[queueIndex] === undefined) return false
    return this.driverOk ? this.#queueResets.get(queueIndex) === false : true
  }

  /** QueueReady and queue_enable. Ignored for a queue that is not open. */
  setQueueReady(queueIndex: number, ready: boolean): void {
    const setup = this.queues[queueIndex]
    if (setup === undefined || !this.queueOpen(queueIndex)) return
    setup.setReady(ready)
    if (setup.ready && this.driverOk) this.#activateAgain(queueIndex)
  }

  /**
   * QueueReset and queue_reset, to which the driver writes 1: stops one queue and forgets its setup, while the device
   * goes on (2.6.1).
   * @returns `false`, and does nothing, without VIRTIO_F_RING_RESET and for a queue that is not active
   */
  resetQueue(queueIndex: number): boolean {
    const context = this.#context
    const queue = this.#virtqueues[queueIndex]
    if (context === undefined || queue === undefined) return false
    if (!hasFeature(this.#driverFeatures, VIRTIO_F_RING_RESET)) return false
    queue.stop()
    this.#virtqueues[queueIndex] = undefined
    this.#scheduled.delete(queueIndex)
    this.queues[queueIndex]!.reset()
    const draining = this.#guard(() => this.device.resetQueue?.(queueIndex))
    this.#queueResets.set(queueIndex, draining instanceof Promise)
    if (!(draining instanceof Promise)) return true
    void draining
      .catch((error: unknown) => context.fail(asError(error)))
      .then(() => {
        if (this.#context === context) this.#queueResets.set(queueIndex, false)
      })
    return true
  }

  /** A queue's reset is waiting for I/O that may still write guest memory: QueueReset reads 1 until it is done. */
  queueResetting(queueIndex: number): boolean {
    return this.#queueResets.get(queueIndex) === true
  }

  /** A queue whose size and addresses the driver may write now: not while it is enabled (4.2.2.2, 4.1.4.3.2). */
  writableQueue(index: number): QueueSetup | undefined {
    const queue = this.queues[index]
    return this.queueOpen(index) && !queue?.ready ? queue : undefined
  }

  /** A write of the driver's; 0 resets the device. */
  writeStatus(written: number): void {
    if (this.#closed || this.#resetting !== undefined) return
    switch (statusStep(this.#status, written)) {
      case 'reset':
        void this.reset()
        break
      case 'acknowledge':
        this.#status |= VIRTIO_CONFIG_S_ACKNOWLEDGE
        break
      case 'driver':
        this.#status |= VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER
        break
      case 'features-ok':
        if (this.#featuresAcceptable()) this.#status |= VIRTIO_CONFIG_S_FEATURES_OK
        break
      case 'driver-ok':
        this.#status |= VIRTIO_CONFIG_S_DRIVER_OK
        this.#activate()
        break
      case 'failed':
        this.#status |= VIRTIO_CONFIG_S_FAILED
        break
      case 'ignore':
        break
    }
  }

  /** 32 bits of the offered features; 0 for a selector beyond 1. */
  deviceFeaturesWord(select: number): number {
    return select > 1 ? 0 : Number(BigInt.asUintN(32, this.deviceFeatures >> BigInt(32 * select)))
  }

  /** The same of what the driver has accepted. */
  driverFeaturesWord(select: number): number {
    return select > 1 ? 0 : Number(BigInt.asUintN(32, this.#driverFeatures >> BigInt(32 * select)))
  }

  /** 32 bits of what the driver wants: the lower ones for `select` 0, the upper ones for 1. */
  writeDriverFeatures(select: number, value: number): void {
    const open =
      (this.#status & VIRTIO_CONFIG_S_DRIVER) !== 0 &&
      (this.#status & VIRTIO_CONFIG_S_FEATURES_OK) === 0
    if (select > 1 || !open || this.#resetting !== undefined) return
    const shift = BigInt(32 * select)
    this.#driverFeatures =
      (this.#driverFeatures & ~(0xffff_ffffn << shift)) | (BigInt(value >>> 0) << shift)
  }

  /** A read of the configuration space; 0 beyond its end. */
  readConfig(offset: number, width: number): number {
    return readLittleEndian(this.device.config, offset, width)
  }

  /** A write to the configuration space. */
  writeConfig(offset: number, width: 1 | 2 | 4, value: number): void {
    if (offset > this.device.config.length - width || this.#resetting !== undefined) return
    if ((this.#status & VIRTIO_CONFIG_S_DRIVER) === 0) return
    this.#guard(() => this.device.writeConfig?.(offset, width, value))
  }

  /** The driver kicked a queue, by a register or an ioeventfd. Kicks of queues that are not there or not active do nothing. */
  notify(queueIndex: number): void {
    if (this.#context === undefined || this.#memory.closed) return
    if (this.#virtqueues[queueIndex] === undefined) return
    if (this.#guard(() => this.device.notify(queueIndex))) this.#schedule(queueIndex)
  }

  /** The vCPUs stand: what works by itself is to stand too, until `resume`. */
  pause(): void {
    this.#guard(() => this.device.pause?.())
  }

  /** Undoes `pause`, unless the device needs a reset. */
  resume(): void {
    if ((this.#status & VIRTIO_CONFIG_S_NEEDS_RESET) === 0)
      this.#guard(() => this.device.resume?.())
  }

  /**
   * Stops the device and forgets everything negotiated: by the driver, or with the whole machine.
   * @returns what resolves when no I/O of its can touch guest memory any more, unless that is so at once
   */
  reset(): Promise<void> | undefined {
    this.#deactivate()
    this.#driverFeatures = 0n
    if (this.#resetting !== undefined) return this.#resetting
    const draining = this.#guard(() => this.device.reset())
    if (!(draining instanceof Promise)) {
      this.#resetDone()
      return undefined
    }
    this.#resetting = draining
      .catch((error: unknown) => this.#events.failed?.(asError(error)))
      .then(() => {
        this.#resetting = undefined
        this.#resetDone()
      })
    return this.#resetting
  }

  /** Ends the device: resolves when its I/O has ended. */
  async close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true
      void this.reset()
    }
    // At the same time: a reset waits for I/O for ever, closing does not.
    await Promise.all([this.#resetting, this.device.close()])
  }

  #resetDone(): void {
    this.#status = 0
    for (const queue of this.queues) queue.reset()
  }

  #featuresAcceptable(): boolean {
    return (
      (this.#driverFeatures & ~this.deviceFeatures) === 0n &&
      hasFeature(this.#driverFeatures, VIRTIO_F_VERSION_1)
    )
  }

  #activate(): void {
    const rule = brokenQueueRule(this.queues, this.#driverFeatures, this.#memory)
    if (rule !== undefined) {
      this.#needsReset(rule)
      return
    }
    const virtqueues = this.queues.map((_, index) => this.#openQueue(index))
    this.#virtqueues = virtqueues
    const context: DeviceContext = {
      memory: this.#memory,
      features: this.#driverFeatures & this.device.features,
      driverFeatures: this.#driverFeatures,
      queues: virtqueues,
      handOver: (queueIndex, moved) => this.#handOver(context, queueIndex, moved),
      configChanged: () => this.#configChanged(context),
      schedule: (queueIndex) => this.#schedule(queueIndex),
      needsReset: (reason) => {
        if (this.#context === context) this.#needsReset(reason)
      },
      fail: (error) => {
        if (this.#context === context) this.#fail(error)
        else this.#events.failed?.(error)
      },
    }
    this.#context = context
    this.#guard(() => this.device.activate(context))
    // Chains made available before DRIVER_OK have had their kick, or never get one.
    for (const queue of virtqueues) if (queue) this.#schedule(queue.index)
  }

  #activateAgain(queueIndex: number): void {
    if ((this.#status & VIRTIO_CONFIG_S_NEEDS_RESET) !== 0) return
    this.#queueResets.delete(queueIndex)
    const rule = brokenQueueRule(this.queues, this.#driverFeatures, this.#memory)
    if (rule !== undefined) {
      this.#needsReset(`queue ${queueIndex}: ${rule}`)
      return
    }
    this.#virtqueues[queueIndex] = this.#openQueue(queueIndex)
    this.#guard(() => this.device.activateQueue?.(queueIndex))
    this.#schedule(queueIndex)
  }

  #openQueue(index: number): Virtqueue | undefined {
    const setup = this.queues[index]!
    return activateQueue(index, setup, this.#driverFeatures, this.#access, this.#queueEvents)
  }

  #deactivate(): void {
    this.#context = undefined
    this.#queueResets.clear()
    this.#scheduled.clear()
    for (const queue of this.#virtqueues) queue?.stop()
    this.#virtqueues = []
  }

  #schedule(queueIndex: number): void {
    const context = this.#context
    if (context === undefined || this.#scheduled.has(queueIndex)) return
    this.#scheduled.add(queueIndex)
    setImmediate(() => {
      if (this.#context !== context || !this.#scheduled.delete(queueIndex)) return
      this.notify(queueIndex)
    })
  }

  #handOver(
    context: DeviceContext,
    queueIndex: number,
    moved: () => void,
  ): QueueHandle | undefined {
    const queue = this.#virtqueues[queueIndex]
    if (this.#context !== context || queue === undefined) return undefined
    const lines = this.#events.takeLines?.(queueIndex, moved)
    return {
      index: queueIndex,
      geometry: this.queues[queueIndex]!.geometry(),
      get kick() {
        return lines?.kick
      },
      get call() {
        return lines?.call
      },
      interrupt: () => {
        if (this.#virtqueues[queueIndex] === queue) this.#events.queueInterrupt(queueIndex)
      },
      release: () => lines?.release(),
    }
  }

  #configChanged(context: DeviceContext): void {
    if (this.#context === context) this.#events.configInterrupt()
  }

  #needsReset(reason: string): void {
    if ((this.#status & VIRTIO_CONFIG_S_NEEDS_RESET) !== 0) return
    this.#status |= VIRTIO_CONFIG_S_NEEDS_RESET
    for (const queue of this.#virtqueues) queue?.stop()
    this.#guard(() => this.device.pause?.())
    this.#events.needsReset?.(reason)
    if (this.driverOk) this.#events.configInterrupt() // 2.1.2
  }

  #fail(error: Error): void {
    this.#needsReset(`the device model failed: ${error.message}`)
    this.#events.failed?.(error)
  }

  #guard<T>(action: () => T): T | undefined {
    try {
      return action()
    } catch (error) {
      this.#fail(asError(error))
      return undefined
    }
  }
}
