import type { BusDevice, Shortcuts } from '../../../bus/bus-device.js'
import type { IrqLine } from '../../../interrupt/irq-line.js'
import type { VirtioDevice } from '../virtio-device.js'
import { DeviceControl } from './device-control.js'
import type { QueueKick } from './queue-lines.js'
import type { QueueAddressWord, QueueSetup } from './queue-setup.js'
import {
  failureEvents,
  type TransportCounters,
  type TransportOptions,
} from './transport-options.js'

// Virtio 1.2, 4.2.2, table 4.1: MMIO device register layout
export const VIRTIO_MMIO_MAGIC_VALUE = 0x000
export const VIRTIO_MMIO_VERSION = 0x004
export const VIRTIO_MMIO_DEVICE_ID = 0x008
export const VIRTIO_MMIO_VENDOR_ID = 0x00c
export const VIRTIO_MMIO_DEVICE_FEATURES = 0x010
export const VIRTIO_MMIO_DEVICE_FEATURES_SEL = 0x014
export const VIRTIO_MMIO_DRIVER_FEATURES = 0x020
export const VIRTIO_MMIO_DRIVER_FEATURES_SEL = 0x024
export const VIRTIO_MMIO_QUEUE_SEL = 0x030
export const VIRTIO_MMIO_QUEUE_NUM_MAX = 0x034
export const VIRTIO_MMIO_QUEUE_NUM = 0x038
export const VIRTIO_MMIO_QUEUE_READY = 0x044
export const VIRTIO_MMIO_QUEUE_NOTIFY = 0x050
export const VIRTIO_MMIO_INTERRUPT_STATUS = 0x060
export const VIRTIO_MMIO_INTERRUPT_ACK = 0x064
export const VIRTIO_MMIO_STATUS = 0x070
export const VIRTIO_MMIO_QUEUE_DESC_LOW = 0x080
export const VIRTIO_MMIO_QUEUE_DESC_HIGH = 0x084
export const VIRTIO_MMIO_QUEUE_AVAIL_LOW = 0x090
export const VIRTIO_MMIO_QUEUE_AVAIL_HIGH = 0x094
export const VIRTIO_MMIO_QUEUE_USED_LOW = 0x0a0
export const VIRTIO_MMIO_QUEUE_USED_HIGH = 0x0a4
export const VIRTIO_MMIO_SHM_LEN_LOW = 0x0b0
export const VIRTIO_MMIO_SHM_LEN_HIGH = 0x0b4
export const VIRTIO_MMIO_SHM_BASE_LOW = 0x0b8
export const VIRTIO_MMIO_SHM_BASE_HIGH = 0x0bc
export const VIRTIO_MMIO_QUEUE_RESET = 0x0c0
export const VIRTIO_MMIO_CONFIG_GENERATION = 0x0fc
export const VIRTIO_MMIO_CONFIG = 0x100

export const VIRTIO_MMIO_INT_VRING = 1
export const VIRTIO_MMIO_INT_CONFIG = 2

/** Bytes of the register window: the control registers and a configuration space of 256 bytes. */
export const VIRTIO_MMIO_WINDOW = 0x200

const MAGIC = 0x74726976 // "virt"
const VENDOR_ID = 0x4d564b4e // "NKVM"

const addressRegisters: ReadonlyMap<number, QueueAddressWord> = new Map([
  [VIRTIO_MMIO_QUEUE_DESC_LOW, ['descriptorArea', 'low']],
  [VIRTIO_MMIO_QUEUE_DESC_HIGH, ['descriptorArea', 'high']],
  [VIRTIO_MMIO_QUEUE_AVAIL_LOW, ['driverArea', 'low']],
  [VIRTIO_MMIO_QUEUE_AVAIL_HIGH, ['driverArea', 'high']],
  [VIRTIO_MMIO_QUEUE_USED_LOW, ['deviceArea', 'low']],
  [VIRTIO_MMIO_QUEUE_USED_HIGH, ['deviceArea', 'high']],
])

/** What {@link VirtioMmioTransport} takes. */
export interface VirtioMmioOptions extends TransportOptions {
  /** Pulsed at each interrupt: the line is edge-triggered. */
  readonly irq: IrqLine
}

/**
 * Virtio over MMIO, version 2 (virtio 1.2, section 4.2), for any {@link VirtioDevice}.
 *
 * Put it on the MMIO bus with a window of {@link VIRTIO_MMIO_WINDOW} bytes. For each queue an ioeventfd on
 * {@link VIRTIO_MMIO_QUEUE_NOTIFY} (4 bytes, datamatch = queue index) may call `notify` in place of the bus.
 *
 * InterruptACK is not posted: the driver's acknowledgement must be in force before it looks at the rings,
 * or it would take back an interrupt raised since. The vCPU's thread serves it, and InterruptStatus.
 */
export class VirtioMmioTransport implements BusDevice {
  readonly name: string
  /** The device's virtqueues. */
  readonly queueCount: number
  /** Since it was made. */
  readonly counters: TransportCounters = {
    ignoredReads: 0,
    ignoredWrites: 0,
    interrupts: 0,
    kicks: 0,
  }
  readonly shortcuts: Shortcuts
  readonly #control: DeviceControl
  readonly #irq: IrqLine
  #kicks: readonly QueueKick[] = []
  #deviceFeaturesSelect = 0
  #driverFeaturesSelect = 0
  #queueSelect = 0
  /** One element, which vCPU threads read and clear bits of. */
  readonly #interruptStatus = new Uint32Array(new SharedArrayBuffer(4))

  constructor(device: VirtioDevice, options: VirtioMmioOptions) {
    this.name = device.name
    this.shortcuts = {
      posted: [VIRTIO_MMIO_QUEUE_NOTIFY],
      status: {
        read: VIRTIO_MMIO_INTERRUPT_STATUS,
        clear: VIRTIO_MMIO_INTERRUPT_ACK,
        bits: this.#interruptStatus,
      },
    }
    this.#irq = options.irq
    const events = {
      queueInterrupt: () => this.#interrupt(VIRTIO_MMIO_INT_VRING),
      configInterrupt: () => this.#interrupt(VIRTIO_MMIO_INT_CONFIG),
      // InterruptStatus is set before each interrupt: none without us.
      takeLines: (queue: number) => {
        const kick = this.#kicks[queue]
        return { kick: kick?.take(), call: undefined, release: () => kick?.giveBack() }
      },
      ...failureEvents(options),
    }
    this.#control = new DeviceControl(device, options.memory, events, options)
    this.queueCount = this.#control.queues.length
  }

  /** The driver kicked a queue. What an ioeventfd's callback calls; any number is safe. */
  notify(queueIndex: number): void {
    this.counters.kicks++
    this.#control.notify(queueIndex)
  }

  /** What raises kicks in place of the bus, for each queue: whoever serves a ring elsewhere is given it. */
  connectKicks(kicks: readonly QueueKick[]): void {
    this.#kicks = kicks
  }

  /** The vCPUs stand: guest memory does not change until `resume`. */
  pause(): void {
    this.#control.pause()
  }

  /** Undoes `pause`. */
  resume(): void {
    this.#control.resume()
  }

  /** Resets the device with the machine; resolves when no I/O of its can touch guest memory any more. */
  async reset(): Promise<void> {
    const drained = this.#control.reset()
    this.#deviceFeaturesSelect = 0
    this.#driverFeaturesSelect = 0
    this.#queueSelect = 0
    Atomics.store(this.#interruptStatus, 0, 0)
    await drained
  }

  /** Stops the device; resolves when no I/O of its can touch guest memory any more. */
  close(): Promise<void> {
    return this.#control.close()
  }

  read(offset: number, width: 1 | 2 | 4): number {
    if (offset >= VIRTIO_MMIO_CONFIG)
      return this.#control.readConfig(offset - VIRTIO_MMIO_CONFIG, width)
    if (width !== 4 || offset % 4 !== 0) {
      this.counters.ignoredReads++
      return 2 ** (8 * width) - 1
    }
    return this.#readRegister(offset)
  }

  write(offset: number, width: 1 | 2 | 4, value: number): void {
    if (offset >= VIRTIO_MMIO_CONFIG)
      this.#control.writeConfig(offset - VIRTIO_MMIO_CONFIG, width, value)
    else if (width !== 4 || offset % 4 !== 0) this.counters.ignoredWrites++
    else this.#writeRegister(offset, value >>> 0)
  }

  #readRegister(offset: number): number {
    const control = this.#control
    switch (offset) {
      case VIRTIO_MMIO_MAGIC_VALUE:
        return MAGIC
      case VIRTIO_MMIO_VERSION:
        return 2
      case VIRTIO_MMIO_DEVICE_ID:
        return control.device.deviceId
      case VIRTIO_MMIO_VENDOR_ID:
        return VENDOR_ID
      case VIRTIO_MMIO_DEVICE_FEATURES:
        return control.deviceFeaturesWord(this.#deviceFeaturesSelect)
      case VIRTIO_MMIO_QUEUE_NUM_MAX:
        return this.#queue?.maxSize ?? 0
      case VIRTIO_MMIO_QUEUE_READY:
        return this.#queue?.ready ? 1 : 0
      case VIRTIO_MMIO_QUEUE_RESET:
        return control.queueResetting(this.#queueSelect) ? 1 : 0
      case VIRTIO_MMIO_INTERRUPT_STATUS:
        return Atomics.load(this.#interruptStatus, 0)
      case VIRTIO_MMIO_STATUS:
        return control.status
      case VIRTIO_MMIO_SHM_LEN_LOW:
      case VIRTIO_MMIO_SHM_LEN_HIGH:
      case VIRTIO_MMIO_SHM_BASE_LOW:
      case VIRTIO_MMIO_SHM_BASE_HIGH:
        return 0xffff_ffff // no shared memory region has any id
      case VIRTIO_MMIO_CONFIG_GENERATION:
        return control.configGeneration
      default:
        this.counters.ignoredReads++
        return 0
    }
  }

  #writeRegister(offset: number, value: number): void {
    const control = this.#control
    switch (offset) {
      case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
        this.#deviceFeaturesSelect = value
        return
      case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
        this.#driverFeaturesSelect = value
        return
      case VIRTIO_MMIO_DRIVER_FEATURES:
        control.writeDriverFeatures(this.#driverFeaturesSelect, value)
        return
      case VIRTIO_MMIO_QUEUE_SEL:
        this.#queueSelect = value
        return
      case VIRTIO_MMIO_QUEUE_NOTIFY:
        this.notify(value)
        return
      case VIRTIO_MMIO_QUEUE_RESET:
        if (value !== 1 || !control.resetQueue(this.#queueSelect)) this.counters.ignoredWrites++
        return
      case VIRTIO_MMIO_INTERRUPT_ACK:
        Atomics.and(this.#interruptStatus, 0, ~value)
        return
      case VIRTIO_MMIO_STATUS:
        this.#writeStatus(value)
        return
      default:
        if (!this.#writeQueueRegister(offset, value)) this.counters.ignoredWrites++
    }
  }

  #writeQueueRegister(offset: number, value: number): boolean {
    if (offset === VIRTIO_MMIO_QUEUE_READY) {
      if (!this.#control.queueOpen(this.#queueSelect)) return false
      this.#control.setQueueReady(this.#queueSelect, (value & 1) === 1)
      return true
    }
    const queue = this.#control.writableQueue(this.#queueSelect)
    if (queue === undefined) return false
    const address = addressRegisters.get(offset)
    if (address !== undefined) {
      queue.setAddress(address, value)
      return true
    }
    if (offset !== VIRTIO_MMIO_QUEUE_NUM) return false
    queue.size = value
    return true
  }

  #writeStatus(value: number): void {
    this.#control.writeStatus(value)
    if (value === 0) Atomics.store(this.#interruptStatus, 0, 0)
  }

  get #queue(): QueueSetup | undefined {
    return this.#control.queues[this.#queueSelect]
  }

  #interrupt(cause: number): void {
    Atomics.or(this.#interruptStatus, 0, cause)
    this.counters.interrupts++
    this.#irq.pulse()
  }
}
