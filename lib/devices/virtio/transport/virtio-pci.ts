import type { BusDevice } from '../../../bus/bus-device.js'
import { invalidOption } from '../../../errors.js'
import { PCI_CAP_ID_VNDR } from '../../pci/abi.js'
import type { Msix } from '../../pci/msix.js'
import { PciDevice } from '../../pci/pci-device.js'
import type { VirtioDevice } from '../virtio-device.js'
import { DeviceControl } from './device-control.js'
import type { QueueKick, QueueLines } from './queue-lines.js'
import {
  failureEvents,
  type TransportCounters,
  type TransportOptions,
} from './transport-options.js'
import * as abi from './virtio-pci-abi.js'
import { structureCapabilities } from './virtio-pci-capabilities.js'
import { PciCfgAccess, pciCfgCapability } from './virtio-pci-cfg.js'
import { VirtioPciCommonConfig } from './virtio-pci-common.js'
import { VirtioPciWindow } from './virtio-pci-window.js'

/** What a PCI transport takes. */
export interface VirtioPciOptions extends TransportOptions {
  /**
   * A driver at work kicks queues in a window at `base` from now on, or nowhere: for whoever puts ioeventfds on
   * {@link VirtioPciTransport.notifyOffset}. While drivers look at the device its window comes and goes many times.
   */
  readonly onKicks?: (base: number | undefined) => void
}

const WINDOW = abi.VIRTIO_PCI_WINDOW

/**
 * Virtio over PCI (virtio 1.2, section 4.1), without the legacy interface, for any {@link VirtioDevice}: plug it into a
 * {@link PciBus}. All its structures lie behind base address register 0, 32 KiB of 32-bit memory. Each queue has a MSI-X
 * vector, configuration changes another; without MSI-X all use the interrupt pin.
 *
 * For each queue an ioeventfd on {@link notifyOffset} in the window may call `notify` in place of the bus.
 */
export class VirtioPciTransport extends PciDevice {
  /** The device's virtqueues. */
  readonly queueCount: number
  /** Since it was made. */
  readonly counters: TransportCounters = {
    ignoredReads: 0,
    ignoredWrites: 0,
    interrupts: 0,
    kicks: 0,
  }
  readonly #control: DeviceControl
  readonly #common: VirtioPciCommonConfig
  readonly #vectors: Msix
  readonly #cfg: PciCfgAccess
  readonly #onKicks: (base: number | undefined) => void
  #base: number | undefined
  /** What `onKicks` was told last. */
  #kicksAt: number | undefined
  #isr = 0
  #kicks: readonly QueueKick[] = []
  /** By queue, those whose rings are served elsewhere: told when what interrupts the driver for them has changed. */
  readonly #served = new Map<number, () => void>()

  /** @throws VmmError `ERR_INVALID_OPTION` for a device of more than {@link abi.VIRTIO_PCI_QUEUES_MAX} queues */
  constructor(device: VirtioDevice, options: VirtioPciOptions) {
    super(device.name, {
      vendorId: abi.VIRTIO_PCI_VENDOR_ID,
      deviceId: abi.VIRTIO_PCI_DEVICE_ID_BASE + device.deviceId,
      classCode: abi.virtioClassCode(device.deviceId),
      revision: 1, // 4.1.2.1: not a transitional device
      interruptPin: true,
    })
    const { memory, onKicks = () => {} } = options
    this.#onKicks = onKicks
    this.queueCount = device.queueSizes.length
    if (this.queueCount > abi.VIRTIO_PCI_QUEUES_MAX) {
      const expected = `at most ${abi.VIRTIO_PCI_QUEUES_MAX} queues`
      throw invalidOption('device.queueSizes', this.queueCount, expected)
    }
    const events = {
      queueInterrupt: (queue: number) =>
        this.#interrupt(abi.VIRTIO_PCI_ISR_QUEUE, this.#common.queueVectors[queue]!),
      configInterrupt: () => this.#interrupt(abi.VIRTIO_PCI_ISR_CONFIG, this.#common.configVector),
      takeLines: (queue: number, moved: () => void) => this.#takeLines(queue, moved),
      ...failureEvents(options),
    }
    this.#control = new DeviceControl(device, memory, events, options)
    this.#vectors = this.addMsix({
      vectors: this.queueCount + 1,
      bar: 0,
      tableOffset: WINDOW.msixTable.offset,
      pbaOffset: WINDOW.msixPba.offset,
    })
    this.#vectors.onChange = () => this.#callsMoved()
    this.#common = new VirtioPciCommonConfig(this.#control, this.#vectors.vectors, {
      status: () => this.#updateKicks(),
      queueVector: () => this.#callsMoved(),
    })
    for (const body of structureCapabilities(this.queueCount)) {
      this.addCapability(PCI_CAP_ID_VNDR, body)
    }
    const window = this.#window()
    const { body, writable } = pciCfgCapability()
    const cfg = this.addCapability(PCI_CAP_ID_VNDR, body, writable)
    this.#cfg = new PciCfgAccess(this.config, cfg, window)
    this.addBar(0, {
      kind: 'memory32',
      size: WINDOW.size,
      device: window,
      moved: (base) => {
        this.#base = base
        this.#updateKicks()
      },
    })
  }

  /** Where in the window a queue is notified, 2 or 4 bytes wide. */
  notifyOffset(queueIndex: number): number {
    return WINDOW.notify.offset + queueIndex * abi.NOTIFY_OFF_MULTIPLIER
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
  override async reset(): Promise<void> {
    const drained = this.#control.reset()
    this.#common.reset()
    this.#isr = 0
    void super.reset()
    this.#updateKicks()
    await drained
  }

  /** Stops the device; resolves when no I/O of its can touch guest memory any more. */
  close(): Promise<void> {
    return this.#control.close()
  }

  override readConfig(offset: number, width: 1 | 2 | 4): number {
    this.#cfg.reading(offset, width)
    return super.readConfig(offset, width)
  }

  override isPlainConfig(offset: number): boolean {
    return offset !== this.#cfg.dataOffset
  }

  override writeConfig(offset: number, width: 1 | 2 | 4, value: number): void {
    super.writeConfig(offset, width, value)
    this.#cfg.written(offset, width)
  }

  #window(): VirtioPciWindow {
    const structures: readonly BusDevice[] = [
      this.#common,
      { name: `${this.name}-isr`, read: (offset) => this.#readIsr(offset), write: () => {} },
      {
        name: `${this.name}-config`,
        read: (offset, width) => this.#control.readConfig(offset, width),
        write: (offset, width, value) => this.#control.writeConfig(offset, width, value),
      },
      { name: `${this.name}-notify`, read: () => 0, write: (offset) => this.#kick(offset) },
      this.#vectors.table,
      this.#vectors.pendingBits,
    ]
    const posted = Array.from({ length: this.queueCount }, (_, queue) => this.notifyOffset(queue))
    return new VirtioPciWindow(this.name, structures, { posted }, this.counters)
  }

  #updateKicks(): void {
    const at = this.#control.driverOk ? this.#base : undefined
    if (at === this.#kicksAt) return
    this.#kicksAt = at
    this.#onKicks(at)
  }

  #takeLines(queue: number, moved: () => void): QueueLines {
    const kick = this.#kicks[queue]
    const call = () => this.#vectors.event(this.#common.queueVectors[queue]!)
    this.#served.set(queue, moved)
    return {
      kick: kick?.take(),
      get call() {
        return call()
      },
      release: () => {
        this.#served.delete(queue)
        kick?.giveBack()
      },
    }
  }

  #callsMoved(): void {
    for (const moved of this.#served.values()) moved()
  }

  #kick(offset: number): void {
    if (offset % abi.NOTIFY_OFF_MULTIPLIER === 0) {
      this.notify(offset / abi.NOTIFY_OFF_MULTIPLIER)
    }
  }

  /** 4.1.4.5.1: reading clears it, and the pin with it. */
  #readIsr(offset: number): number {
    if (offset !== 0) return 0
    const isr = this.#isr
    this.#isr = 0
    this.setIntx(false)
    return isr
  }

  #interrupt(cause: number, vector: number): void {
    this.counters.interrupts++
    if (this.#vectors.enabled) {
      // 4.1.4.5.1: a configuration change shows there in any case.
      this.#isr |= cause & abi.VIRTIO_PCI_ISR_CONFIG
      this.#vectors.raise(vector)
      return
    }
    this.#isr |= cause
    this.setIntx(true)
  }
}
