import type { BusDevice } from '../../../bus/bus-device.js'
import type { DeviceControl } from './device-control.js'
import type { QueueAddressWord, QueueSetup } from './queue-setup.js'
import * as abi from './virtio-pci-abi.js'

const addressRegisters: ReadonlyMap<number, QueueAddressWord> = new Map([
  [abi.VIRTIO_PCI_COMMON_Q_DESCLO, ['descriptorArea', 'low']],
  [abi.VIRTIO_PCI_COMMON_Q_DESCHI, ['descriptorArea', 'high']],
  [abi.VIRTIO_PCI_COMMON_Q_AVAILLO, ['driverArea', 'low']],
  [abi.VIRTIO_PCI_COMMON_Q_AVAILHI, ['driverArea', 'high']],
  [abi.VIRTIO_PCI_COMMON_Q_USEDLO, ['deviceArea', 'low']],
  [abi.VIRTIO_PCI_COMMON_Q_USEDHI, ['deviceArea', 'high']],
])

/** 4.1.3.1: each register is accessed with its own width, a 64-bit one as two of 32 bits. */
const widths: ReadonlyMap<number, 1 | 2 | 4> = new Map([
  [abi.VIRTIO_PCI_COMMON_DFSELECT, 4],
  [abi.VIRTIO_PCI_COMMON_DF, 4],
  [abi.VIRTIO_PCI_COMMON_GFSELECT, 4],
  [abi.VIRTIO_PCI_COMMON_GF, 4],
  [abi.VIRTIO_PCI_COMMON_MSIX, 2],
  [abi.VIRTIO_PCI_COMMON_NUMQ, 2],
  [abi.VIRTIO_PCI_COMMON_STATUS, 1],
  [abi.VIRTIO_PCI_COMMON_CFGGENERATION, 1],
  [abi.VIRTIO_PCI_COMMON_Q_SELECT, 2],
  [abi.VIRTIO_PCI_COMMON_Q_SIZE, 2],
  [abi.VIRTIO_PCI_COMMON_Q_MSIX, 2],
  [abi.VIRTIO_PCI_COMMON_Q_ENABLE, 2],
  [abi.VIRTIO_PCI_COMMON_Q_NOFF, 2],
  ...[...addressRegisters.keys()].map((offset) => [offset, 4] as const),
  [abi.VIRTIO_PCI_COMMON_Q_NDATA, 2],
  [abi.VIRTIO_PCI_COMMON_Q_RESET, 2],
])

/** What the transport is told of, after the driver has written it. */
export interface CommonConfigEvents {
  status(): void
  queueVector(): void
}

/**
 * The register of which an access reads no more than a part. Drivers ought to read all of it; iPXE reads the lower half of
 * 32-bit ones, and would take ones there for features.
 */
function registerOf(offset: number, width: 1 | 2 | 4): number | undefined {
  for (let start = offset; start >= 0 && start > offset - 4; start--) {
    const size = widths.get(start)
    if (size !== undefined) return offset + width <= start + size ? start : undefined
  }
  return undefined
}

/** The common configuration structure of virtio over PCI (virtio 1.2, 4.1.4.3). */
export class VirtioPciCommonConfig implements BusDevice {
  readonly name: string
  /** By queue, the MSI-X vector of its interrupts, or VIRTIO_MSI_NO_VECTOR. */
  readonly queueVectors: Uint16Array
  configVector = abi.VIRTIO_MSI_NO_VECTOR
  readonly #control: DeviceControl
  readonly #vectors: number
  readonly #events: CommonConfigEvents
  #deviceFeaturesSelect = 0
  #driverFeaturesSelect = 0
  #queueSelect = 0

  /** @param vectors how many MSI-X vectors there are */
  constructor(control: DeviceControl, vectors: number, events: CommonConfigEvents) {
    this.name = `${control.device.name}-common`
    this.#control = control
    this.#vectors = vectors
    this.#events = events
    this.queueVectors = new Uint16Array(control.queues.length)
    this.reset()
  }

  reset(): void {
    this.#deviceFeaturesSelect = 0
    this.#driverFeaturesSelect = 0
    this.#queueSelect = 0
    this.configVector = abi.VIRTIO_MSI_NO_VECTOR
    this.queueVectors.fill(abi.VIRTIO_MSI_NO_VECTOR)
  }

  read(offset: number, width: 1 | 2 | 4): number {
    const all = 2 ** (8 * width) - 1
    if (widths.get(offset) === width) return this.#readRegister(offset)
    const register = registerOf(offset, width)
    if (register === undefined) return all
    return ((this.#readRegister(register) >>> (8 * (offset - register))) & all) >>> 0
  }

  #readRegister(offset: number): number {
    const control = this.#control
    switch (offset) {
      case abi.VIRTIO_PCI_COMMON_DFSELECT:
        return this.#deviceFeaturesSelect
      case abi.VIRTIO_PCI_COMMON_DF:
        return control.deviceFeaturesWord(this.#deviceFeaturesSelect)
      case abi.VIRTIO_PCI_COMMON_GFSELECT:
        return this.#driverFeaturesSelect
      case abi.VIRTIO_PCI_COMMON_GF:
        return control.driverFeaturesWord(this.#driverFeaturesSelect)
      case abi.VIRTIO_PCI_COMMON_MSIX:
        return this.configVector
      case abi.VIRTIO_PCI_COMMON_NUMQ:
        return control.queues.length
      case abi.VIRTIO_PCI_COMMON_STATUS:
        return control.status
      case abi.VIRTIO_PCI_COMMON_CFGGENERATION:
        return control.configGeneration & 0xff
      case abi.VIRTIO_PCI_COMMON_Q_SELECT:
        return this.#queueSelect
      default:
        return this.#readQueue(offset)
    }
  }

  write(offset: number, width: 1 | 2 | 4, value: number): void {
    if (widths.get(offset) !== width) return
    const control = this.#control
    switch (offset) {
      case abi.VIRTIO_PCI_COMMON_DFSELECT:
        this.#deviceFeaturesSelect = value
        return
      case abi.VIRTIO_PCI_COMMON_GFSELECT:
        this.#driverFeaturesSelect = value
        return
      case abi.VIRTIO_PCI_COMMON_GF:
        control.writeDriverFeatures(this.#driverFeaturesSelect, value)
        return
      case abi.VIRTIO_PCI_COMMON_MSIX:
        this.configVector = this.#vector(value)
        return
      case abi.VIRTIO_PCI_COMMON_STATUS:
        control.writeStatus(value)
        if (value === 0) this.reset()
        this.#events.status()
        return
      case abi.VIRTIO_PCI_COMMON_Q_SELECT:
        this.#queueSelect = value
        return
      case abi.VIRTIO_PCI_COMMON_Q_MSIX:
        if (this.#queue) this.queueVectors[this.#queueSelect] = this.#vector(value)
        this.#events.queueVector()
        return
      case abi.VIRTIO_PCI_COMMON_Q_RESET:
        if (value === 1 && control.resetQueue(this.#queueSelect)) {
          this.queueVectors[this.#queueSelect] = abi.VIRTIO_MSI_NO_VECTOR
        }
        return
      default:
        this.#writeQueue(offset, value)
    }
  }

  /** A queue that does not exist has size 0 (4.1.4.3.1). */
  #readQueue(offset: number): number {
    const queue = this.#queue
    const address = addressRegisters.get(offset)
    if (queue === undefined) return offset === abi.VIRTIO_PCI_COMMON_Q_MSIX ? 0xffff : 0
    if (address !== undefined) return queue.address(address)
    switch (offset) {
      case abi.VIRTIO_PCI_COMMON_Q_SIZE:
        return queue.size & 0xffff
      case abi.VIRTIO_PCI_COMMON_Q_MSIX:
        return this.queueVectors[this.#queueSelect]!
      case abi.VIRTIO_PCI_COMMON_Q_ENABLE:
        return queue.ready ? 1 : 0
      case abi.VIRTIO_PCI_COMMON_Q_NOFF:
      case abi.VIRTIO_PCI_COMMON_Q_NDATA:
        return this.#queueSelect
      case abi.VIRTIO_PCI_COMMON_Q_RESET:
        return this.#control.queueResetting(this.#queueSelect) ? 1 : 0
      default:
        return 0
    }
  }

  #writeQueue(offset: number, value: number): void {
    const queue = this.#control.writableQueue(this.#queueSelect)
    if (queue === undefined) return
    const address = addressRegisters.get(offset)
    if (address !== undefined) {
      queue.setAddress(address, value)
    } else if (offset === abi.VIRTIO_PCI_COMMON_Q_SIZE) {
      queue.size = value
    } else if (offset === abi.VIRTIO_PCI_COMMON_Q_ENABLE && value === 1) {
      this.#control.setQueueReady(this.#queueSelect, true) // 4.1.4.3.2: 0 is not to be written
    }
  }

  get #queue(): QueueSetup | undefined {
    return this.#control.queues[this.#queueSelect]
  }

  /** 4.1.5.1.2.1: a vector that there is not is mapped to none, which reads back. */
  #vector(value: number): number {
    return value < this.#vectors ? value : abi.VIRTIO_MSI_NO_VECTOR
  }
}
