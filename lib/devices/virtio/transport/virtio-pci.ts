import type { BusDevice } from '../../../bus/bus-device.js'
import { invalidOption } from '../../../errors.js'
import { le32 } from '../../../util/bits.js'
import { PCI_CAP_ID_VNDR } from '../../pci/abi.js'
import type { Bar } from '../../pci/address-window.js'
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
import { VirtioPciCommonConfig } from './virtio-pci-common.js'

/** What a PCI transport takes. */
export interface VirtioPciOptions extends TransportOptions {
  /**
   * A driver at work kicks queues in a window at `base` from now on, or nowhere: for whoever puts ioeventfds on
   * {@link VirtioPciTransport.notifyOffset}. While drivers look at the device its window comes and goes many times.
   */
  readonly onKicks?: (base: number | undefined) => void
}

const WINDOW = abi.VIRTIO_PCI_WINDOW
const PAGE = 0x1000
/** 4.1.4.9: in the capability VIRTIO_PCI_CAP_PCI_CFG, from its beginning. */
const CFG_BAR = 4
const CFG_OFFSET = 8
const CFG_LENGTH = 12
const CFG_DATA = 16

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
  readonly #window: Bar
  readonly #structures: readonly (BusDevice | undefined)[]
  /** Of the capability VIRTIO_PCI_CAP_PCI_CFG. */
  readonly #cfgAccess: number
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
    this.#structures = [
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
    this.#addStructures()
    this.#cfgAccess = this.addCapability(
      PCI_CAP_ID_VNDR,
      vendorCapability(abi.VIRTIO_PCI_CAP_PCI_CFG, { offset: 0, length: 0 }, 4),
      Uint8Array.from({ length: 18 }, (_, i) =>
        i + 2 === CFG_BAR || i + 2 >= CFG_OFFSET ? 0xff : 0,
      ),
    )
    this.#window = this.addBar(0, {
      kind: 'memory32',
      size: WINDOW.size,
      device: this.#windowDevice(),
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
    const access = this.#windowAccess(offset, width)
    if (access === undefined) return super.readConfig(offset, width)
    // 4.1.4.9.1: as wide as the length says, whichever part of the field is read.
    const value = this.#window.device.read(access.offset, access.length)
    this.config.bytes.set(le32(value), this.#cfgAccess + CFG_DATA)
    return super.readConfig(offset, width)
  }

  override isPlainConfig(offset: number): boolean {
    return offset !== this.#cfgAccess + CFG_DATA
  }

  override writeConfig(offset: number, width: 1 | 2 | 4, value: number): void {
    super.writeConfig(offset, width, value)
    const access = this.#windowAccess(offset, width)
    if (access === undefined) return
    const { length } = access
    const data = this.config.get(this.#cfgAccess + CFG_DATA, length)
    this.#window.device.write(access.offset, length, data)
  }

  /** 4.1.4.9: what an access to pci_cfg_data goes to; `undefined` for another register, or for what the driver may not ask. */
  #windowAccess(offset: number, width: number): { offset: number; length: 1 | 2 | 4 } | undefined {
    const start = this.#cfgAccess + CFG_DATA
    if (offset < start || offset + width > start + 4) return undefined
    const length = this.config.get(this.#cfgAccess + CFG_LENGTH, 4)
    const target = this.config.get(this.#cfgAccess + CFG_OFFSET, 4)
    if (this.config.get(this.#cfgAccess + CFG_BAR, 1) !== 0) return undefined
    if (length !== 1 && length !== 2 && length !== 4) return undefined
    if (target % length !== 0 || target > WINDOW.size - length) return undefined
    return { offset: target, length }
  }

  #addStructures(): void {
    const types = [
      [abi.VIRTIO_PCI_CAP_COMMON_CFG, WINDOW.common],
      [abi.VIRTIO_PCI_CAP_ISR_CFG, WINDOW.isr],
      [abi.VIRTIO_PCI_CAP_DEVICE_CFG, WINDOW.device],
    ] as const
    for (const [type, place] of types) {
      this.addCapability(PCI_CAP_ID_VNDR, vendorCapability(type, place))
    }
    const notify = { ...WINDOW.notify, length: this.queueCount * abi.NOTIFY_OFF_MULTIPLIER }
    const body = vendorCapability(abi.VIRTIO_PCI_CAP_NOTIFY_CFG, notify, 4)
    body.set(le32(abi.NOTIFY_OFF_MULTIPLIER), 14)
    this.addCapability(PCI_CAP_ID_VNDR, body)
  }

  #windowDevice(): BusDevice {
    const structure = (offset: number) => this.#structures[Math.floor(offset / PAGE)]
    const read = (offset: number, width: 1 | 2 | 4): number => {
      const found = structure(offset)
      if (found !== undefined) return found.read(offset % PAGE, width)
      this.counters.ignoredReads++
      return 2 ** (8 * width) - 1
    }
    const write = (offset: number, width: 1 | 2 | 4, value: number): void => {
      const found = structure(offset)
      if (found !== undefined) found.write(offset % PAGE, width, value)
      else this.counters.ignoredWrites++
    }
    const queues = Array.from({ length: this.queueCount }, (_, queue) => queue)
    return {
      name: this.name,
      shortcuts: { posted: queues.map((queue) => this.notifyOffset(queue)) },
      read,
      write,
      // PCI 3.0, 6.8.2, allows it for the MSI-X table; elsewhere it is as two accesses too.
      read64: (offset) =>
        offset % 8 === 0
          ? (BigInt(read(offset + 4, 4)) << 32n) | BigInt(read(offset, 4))
          : 0xffff_ffff_ffff_ffffn,
      write64: (offset, value) => {
        if (offset % 8 !== 0) return
        write(offset, 4, Number(BigInt.asUintN(32, value)))
        write(offset + 4, 4, Number(value >> 32n))
      },
    }
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

/** `struct virtio_pci_cap` after its id and pointer, and `extra` bytes (4.1.4). */
function vendorCapability(
  type: number,
  { offset, length }: { readonly offset: number; readonly length: number },
  extra = 0,
): Uint8Array {
  const body = new DataView(new ArrayBuffer(14 + extra))
  body.setUint8(0, 16 + extra)
  body.setUint8(1, type)
  body.setUint32(6, offset, true)
  body.setUint32(10, length, true)
  return new Uint8Array(body.buffer)
}
