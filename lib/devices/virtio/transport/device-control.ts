import { asError } from '../../../errors.js'
import type { GuestMemory } from '../../../memory/guest-memory.js'
import { readLittleEndian } from '../../../util/bits.js'
import {
  type FeatureBits,
  hasFeature,
  VIRTIO_CONFIG_S_ACKNOWLEDGE,
  VIRTIO_CONFIG_S_DRIVER,
  VIRTIO_CONFIG_S_DRIVER_OK,
  VIRTIO_CONFIG_S_FAILED,
  VIRTIO_CONFIG_S_FEATURES_OK,
  VIRTIO_CONFIG_S_NEEDS_RESET,
  VIRTIO_F_RING_RESET,
} from '../abi.js'
import { GuestAccess } from '../queue/guest-access.js'
import type { VirtioDevice } from '../virtio-device.js'
import { ActiveDevice } from './active-device.js'
import { ConfigGeneration } from './config-generation.js'
import { statusStep } from './device-status.js'
import { FeatureNegotiation, offeredFeatures } from './feature-negotiation.js'
import { brokenQueueRule } from './queue-activation.js'
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
  readonly #features: FeatureNegotiation
  readonly #generation: ConfigGeneration
  #status = 0
  /** From DRIVER_OK to the reset. */
  #active: ActiveDevice | undefined
  #resetting: Promise<void> | undefined
  #closed = false

  constructor(
    device: VirtioDevice,
    memory: GuestMemory,
    events: DeviceControlEvents,
    options: DeviceControlOptions = {},
  ) {
    device.attach?.(memory)
    this.device = device
    this.#features = new FeatureNegotiation(offeredFeatures(device, options))
    this.deviceFeatures = this.#features.offered
    this.queues = device.queueSizes.map((maxSize) => new QueueSetup(maxSize))
    this.#memory = memory
    this.#access = new GuestAccess(memory)
    this.#events = events
    this.#generation = new ConfigGeneration(device.config)
  }

  /** VIRTIO_CONFIG_S_*. */
  get status(): number {
    return this.#status
  }

  /** Another number whenever the configuration space has changed since it was last asked for (2.5.1). */
  get configGeneration(): number {
    return this.#generation.of(this.device.config)
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
    return !this.driverOk || this.#active?.queueOpen(queueIndex) === true
  }

  /** QueueReady and queue_enable. Ignored for a queue that is not open. */
  setQueueReady(queueIndex: number, ready: boolean): void {
    const setup = this.queues[queueIndex]
    if (setup === undefined || !this.queueOpen(queueIndex)) return
    setup.setReady(ready)
    if (setup.ready && !this.#broken) this.#active?.activateQueue(queueIndex)
  }

  /**
   * QueueReset and queue_reset, to which the driver writes 1: stops one queue and forgets its setup, while the device
   * goes on (2.6.1).
   * @returns `false`, and does nothing, without VIRTIO_F_RING_RESET and for a queue that is not active
   */
  resetQueue(queueIndex: number): boolean {
    if (!hasFeature(this.#features.accepted, VIRTIO_F_RING_RESET)) return false
    return this.#active?.resetQueue(queueIndex) ?? false
  }

  /** A queue's reset is waiting for I/O that may still write guest memory: QueueReset reads 1 until it is done. */
  queueResetting(queueIndex: number): boolean {
    return this.#active?.queueResetting(queueIndex) ?? false
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
        if (this.#features.acceptable) this.#status |= VIRTIO_CONFIG_S_FEATURES_OK
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
    return this.#features.offeredWord(select)
  }

  /** The same of what the driver has accepted. */
  driverFeaturesWord(select: number): number {
    return this.#features.acceptedWord(select)
  }

  /** 32 bits of what the driver wants: the lower ones for `select` 0, the upper ones for 1. */
  writeDriverFeatures(select: number, value: number): void {
    const open =
      (this.#status & VIRTIO_CONFIG_S_DRIVER) !== 0 &&
      (this.#status & VIRTIO_CONFIG_S_FEATURES_OK) === 0
    if (open && this.#resetting === undefined) this.#features.accept(select, value)
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
    this.#active?.notify(queueIndex)
  }

  /** The vCPUs stand: what works by itself is to stand too, until `resume`. */
  pause(): void {
    this.#guard(() => this.device.pause?.())
  }

  /** Undoes `pause`, unless the device needs a reset. */
  resume(): void {
    if (!this.#broken) this.#guard(() => this.device.resume?.())
  }

  /**
   * Stops the device and forgets everything negotiated: by the driver, or with the whole machine.
   * @returns what resolves when no I/O of its can touch guest memory any more, unless that is so at once
   */
  reset(): Promise<void> | undefined {
    this.#active?.end()
    this.#active = undefined
    this.#features.reset()
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

  #activate(): void {
    const rule = brokenQueueRule(this.queues, this.#features.accepted, this.#memory)
    if (rule !== undefined) {
      this.#needsReset(rule)
      return
    }
    this.#active = new ActiveDevice({
      device: this.device,
      setups: this.queues,
      driverFeatures: this.#features.accepted,
      memory: this.#memory,
      access: this.#access,
      events: this.#events,
      guard: (call) => this.#guard(call),
      needsReset: (reason) => this.#needsReset(reason),
      fail: (error) => this.#fail(error),
    })
    this.#active.start()
  }

  get #broken(): boolean {
    return (this.#status & VIRTIO_CONFIG_S_NEEDS_RESET) !== 0
  }

  #needsReset(reason: string): void {
    if (this.#broken) return
    this.#status |= VIRTIO_CONFIG_S_NEEDS_RESET
    this.#active?.stopQueues()
    this.#guard(() => this.device.pause?.())
    this.#events.needsReset?.(reason)
    if (this.driverOk) this.#events.configInterrupt() // 2.1.2
  }

  #fail(error: Error): void {
    this.#needsReset(`the device model failed: ${error.message}`)
    this.#events.failed?.(error)
  }

  /** Calls the device; what it throws is its failure. */
  #guard<T>(call: () => T): T | undefined {
    try {
      return call()
    } catch (error) {
      this.#fail(asError(error))
      return undefined
    }
  }
}
