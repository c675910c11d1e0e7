import type { GuestMemory } from '../../memory/guest-memory.js'
import type { SignalEvent } from '../../util/signal-event.js'
import type { FeatureBits } from './abi.js'
import type { QueueGeometry } from './queue/queue-geometry.js'
import type { Virtqueue } from './queue/virtqueue.js'

/**
 * A virtio device, apart from the transport that shows it to the guest.
 *
 * The transport negotiates features, checks and sets up the queues, and calls `activate` when the driver is ready.
 * From then until `reset` the device is told of kicks by `notify` and works on its queues. Ring features
 * (indirect descriptors, event indices, ring layout) are the queue's business: a device neither offers nor sees them.
 */
export interface VirtioDevice {
  /** For logs, counters and errors: `'block0'`. */
  readonly name: string
  /** Virtio 1.2, section 5: `VIRTIO_ID_BLOCK` and its like. */
  readonly deviceId: number
  /** The features of this device type that it offers, fixed when a transport takes the device. */
  readonly features: FeatureBits
  /** The greatest size of each queue: powers of two up to 32768. Their number is the number of queues. */
  readonly queueSizes: readonly number[]
  /**
   * The configuration space, at most 256 bytes, little-endian. The transport reads it at the driver's request;
   * the device changes it in place and then calls {@link DeviceContext.configChanged}.
   */
  readonly config: Uint8Array
  /**
   * It uses chains in the order in which they come, or about so: VIRTIO_F_IN_ORDER may be offered, with which the queue
   * holds back what is done early. Absent: it is not offered.
   */
  readonly inOrder?: boolean
  /** Of the features of rings those that may be offered; VIRTIO_F_VERSION_1 is. Absent: all that the transport knows. */
  readonly ringFeatures?: FeatureBits | undefined
  /**
   * A transport has taken the device: called once, before everything else, with the machine's memory.
   * What it throws reaches whoever sets the machine up.
   */
  attach?(memory: GuestMemory): void
  /** The driver writes `width` bytes at `offset` of the configuration space, wholly inside it. Absent: such writes are ignored. */
  writeConfig?(offset: number, width: 1 | 2 | 4, value: number): void
  /** The driver is ready (DRIVER_OK). The context is valid until `reset`. */
  activate(context: DeviceContext): void
  /**
   * The driver kicked a queue. Work is bounded: a device that stops at its budget with chains left
   * returns `true` and is called again in a later turn of the event loop.
   */
  notify(queueIndex: number): boolean
  /**
   * The driver resets one queue while the device goes on (2.6.1); `context.queues[queueIndex]` is gone by now. The chains
   * taken from it are to be forgotten: no guest memory of theirs may be touched once this has returned, or, if it returns
   * a promise, once that has resolved. Absent: VIRTIO_F_RING_RESET is not offered.
   */
  resetQueue?(queueIndex: number): void | Promise<void>
  /** A queue that was reset is there again, perhaps of another size: `context.queues[queueIndex]`. */
  activateQueue?(queueIndex: number): void
  /**
   * The vCPUs stand, or the device needs a reset: guest memory is not to change until `resume`, or `reset`. Work on
   * {@link DeviceContext.queues} ends by itself.
   */
  pause?(): void
  /** Undoes `pause`. */
  resume?(): void
  /**
   * Back to how it was before `activate`. No queue and no guest memory may be touched once this has returned,
   * or, if it returns a promise, once that has resolved; the driver sees the reset finish only then.
   */
  reset(): void | Promise<void>
  /**
   * Gives back what the device holds, within 5 seconds. Called after `reset`, and perhaps before what that waits for is
   * done, which it is then with this. Its backend belongs to whoever made it.
   */
  close(): Promise<void>
}

/** What an active device has to work with. */
export interface DeviceContext {
  /** The guest's. */
  readonly memory: GuestMemory
  /** The features in force: offered by the device and accepted by the driver. */
  readonly features: FeatureBits
  /** The same and the features of rings: all that the driver has accepted. */
  readonly driverFeatures: FeatureBits
  /** By queue index; `undefined` for a queue that the driver did not set up, or has reset. */
  readonly queues: readonly (Virtqueue | undefined)[]
  /**
   * Gives a queue away, to something that serves its ring in the host's kernel: nobody else may touch the ring then.
   * @param moved told when {@link QueueHandle.call} has changed
   * @returns `undefined` for a queue that the driver did not set up, or has reset
   */
  handOver(queueIndex: number, moved: () => void): QueueHandle | undefined
  /** Tells the driver that the configuration space has changed. */
  configChanged(): void
  /**
   * Has `notify(queueIndex)` called in a later turn of the event loop, once however often it is asked for:
   * for work left over by something other than a kick.
   */
  schedule(queueIndex: number): void
  /** The driver did what the device cannot go on from: DEVICE_NEEDS_RESET. `reason` is for the log. */
  needsReset(reason: string): void
  /** The device model itself failed. The device stops as by `needsReset`, and the error reaches the machine. */
  fail(error: Error): void
}

/** A queue whose ring is served elsewhere. */
export interface QueueHandle {
  /** Which of the device's, from 0 on. */
  readonly index: number
  /** Where its rings are, and how large. */
  readonly geometry: QueueGeometry
  /** The driver's kicks raise it, and do not reach `notify`. Absent: they do. */
  readonly kick: SignalEvent | undefined
  /** Raising it interrupts the driver for this queue. Absent, while there is no such thing: call `interrupt`. */
  readonly call: SignalEvent | undefined
  /** Interrupts the driver for this queue. */
  interrupt(): void
  /** The queue is given back: it is not served any more. Before the device's reset, or the queue's, is done. */
  release(): void
}
