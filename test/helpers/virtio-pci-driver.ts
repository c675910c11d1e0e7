import {
  VIRTIO_CONFIG_S_ACKNOWLEDGE,
  VIRTIO_CONFIG_S_DRIVER,
  VIRTIO_CONFIG_S_DRIVER_OK,
  VIRTIO_CONFIG_S_FEATURES_OK,
  VIRTIO_F_VERSION_1,
} from '../../lib/devices/virtio/abi.js'
import { VirtioPciTransport } from '../../lib/devices/virtio/transport/virtio-pci.js'
import * as abi from '../../lib/devices/virtio/transport/virtio-pci-abi.js'
import type { VirtioDevice } from '../../lib/devices/virtio/virtio-device.js'
import type { GuestMemory } from '../../lib/memory/guest-memory.js'
import { plainMemory } from './guest-memories.js'
import { PciRig } from './pci-rig.js'
import { Allocator, DriverQueue } from './virtio-driver.js'

export const SLOT = 3
export const WINDOW = 0xc000_0000

/** A device behind virtio-pci in slot {@link SLOT}, and a driver that finds its structures by their capabilities. */
export class VirtioPciRig<T extends VirtioDevice> {
  readonly pci = new PciRig()
  readonly reasons: string[] = []
  readonly errors: Error[] = []
  readonly moves: (number | undefined)[] = []
  readonly transport: VirtioPciTransport
  readonly queues: DriverQueue[] = []
  readonly #allocator = new Allocator(0x10000)

  constructor(
    readonly device: T,
    readonly memory: GuestMemory = plainMemory([0, 0x100000]),
  ) {
    this.transport = new VirtioPciTransport(device, {
      memory,
      onNeedsReset: (reason) => this.reasons.push(reason),
      onError: (error) => this.errors.push(error),
      onKicks: (base) => this.moves.push(base),
    })
    this.pci.bus.plug(this.transport, SLOT)
    this.pci.write(SLOT, 0x10, 4, WINDOW)
    this.pci.write(SLOT, 0x04, 2, 0x0006)
  }

  /** Where a structure begins, by the capability of its type. */
  structure(type: number): number {
    return WINDOW + this.pci.read(SLOT, this.capability(type) + 8)
  }

  /** The offset of the virtio capability of a type. */
  capability(type: number): number {
    for (let at = this.pci.read(SLOT, 0x34, 1); at; at = this.pci.read(SLOT, at + 1, 1)) {
      if (this.pci.read(SLOT, at, 1) === 9 && this.pci.read(SLOT, at + 3, 1) === type) return at
    }
    throw new Error(`no capability of type ${type}`)
  }

  read(register: number, width: 1 | 2 | 4): number {
    return this.pci.mmio.read(this.structure(abi.VIRTIO_PCI_CAP_COMMON_CFG) + register, width)
  }

  write(register: number, width: 1 | 2 | 4, value: number): void {
    this.pci.mmio.write(this.structure(abi.VIRTIO_PCI_CAP_COMMON_CFG) + register, width, value)
  }

  get status(): number {
    return this.read(abi.VIRTIO_PCI_COMMON_STATUS, 1)
  }

  set status(value: number) {
    this.write(abi.VIRTIO_PCI_COMMON_STATUS, 1, value)
  }

  /** Up to FEATURES_OK, with VERSION_1 and what is wanted. */
  negotiate(...wanted: readonly number[]): void {
    this.status = 0
    this.status = VIRTIO_CONFIG_S_ACKNOWLEDGE
    this.status |= VIRTIO_CONFIG_S_DRIVER
    const features = [VIRTIO_F_VERSION_1, ...wanted].reduce(
      (set, bit) => set | (1n << BigInt(bit)),
      0n,
    )
    for (const select of [0, 1]) {
      this.write(abi.VIRTIO_PCI_COMMON_GFSELECT, 4, select)
      const word = Number((features >> BigInt(32 * select)) & 0xffff_ffffn)
      this.write(abi.VIRTIO_PCI_COMMON_GF, 4, word)
    }
    this.status |= VIRTIO_CONFIG_S_FEATURES_OK
  }

  setUpQueue(index: number, size: number, vector = index): DriverQueue {
    const queue = new DriverQueue(this.memory, this.#allocator, index, size)
    this.write(abi.VIRTIO_PCI_COMMON_Q_SELECT, 2, index)
    this.write(abi.VIRTIO_PCI_COMMON_Q_SIZE, 2, size)
    this.write(abi.VIRTIO_PCI_COMMON_Q_MSIX, 2, vector)
    this.write(abi.VIRTIO_PCI_COMMON_Q_DESCLO, 4, queue.descriptorArea)
    this.write(abi.VIRTIO_PCI_COMMON_Q_AVAILLO, 4, queue.driverArea)
    this.write(abi.VIRTIO_PCI_COMMON_Q_USEDLO, 4, queue.deviceArea)
    this.write(abi.VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1)
    this.queues[index] = queue
    return queue
  }

  /** All of initialization, queue n with vector n, configuration changes with the one after the queues'. */
  start(size = 16): void {
    this.negotiate()
    this.write(abi.VIRTIO_PCI_COMMON_MSIX, 2, this.transport.queueCount)
    for (let queue = 0; queue < this.transport.queueCount; queue++) this.setUpQueue(queue, size)
    this.status |= VIRTIO_CONFIG_S_DRIVER_OK
  }

  /** Enables MSI-X, with a message of its own for each vector and none masked. */
  enableMsix(): void {
    const at = this.findMsix()
    const table = WINDOW + (this.pci.read(SLOT, at + 4) & ~7)
    for (let vector = 0; vector <= this.transport.queueCount; vector++) {
      const entry = table + 16 * vector
      this.pci.mmio.write(entry, 4, 0xfee0_0000)
      this.pci.mmio.write(entry + 8, 4, 0x40 + vector)
      this.pci.mmio.write(entry + 12, 4, 0)
    }
    this.pci.write(SLOT, at + 2, 2, 0x8000)
  }

  findMsix(): number {
    let at = this.pci.read(SLOT, 0x34, 1)
    while (this.pci.read(SLOT, at, 1) !== 0x11) at = this.pci.read(SLOT, at + 1, 1)
    return at
  }

  /** How many messages each vector has sent. */
  get sent(): number[] {
    return this.pci.messages.map(({ sent }) => sent.length)
  }

  kick(queue: number, value = queue): void {
    const capability = this.capability(abi.VIRTIO_PCI_CAP_NOTIFY_CFG)
    const multiplier = this.pci.read(SLOT, capability + 16)
    this.write(abi.VIRTIO_PCI_COMMON_Q_SELECT, 2, queue)
    const offset = this.read(abi.VIRTIO_PCI_COMMON_Q_NOFF, 2)
    const notify = this.structure(abi.VIRTIO_PCI_CAP_NOTIFY_CFG)
    this.pci.mmio.write(notify + offset * multiplier, 2, value)
  }

  get isr(): number {
    return this.pci.mmio.read(this.structure(abi.VIRTIO_PCI_CAP_ISR_CFG), 1)
  }

  get pin(): boolean {
    return this.pci.lines[SLOT % this.pci.lines.length]!.level
  }
}
