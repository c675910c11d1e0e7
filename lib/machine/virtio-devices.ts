import type { AcpiPm } from '../devices/legacy/acpi-pm.js'
import type { VirtioMmioTransport } from '../devices/virtio/transport/virtio-mmio.js'
import { VirtioPciTransport } from '../devices/virtio/transport/virtio-pci.js'
import type { VirtioDevice } from '../devices/virtio/virtio-device.js'
import type { Cleanup } from '../util/cleanup.js'
import { DeviceSlots } from './device-slots.js'
import { type DeviceStatistics, deviceStatistics } from './device-stats.js'
import type { DevicePlaces } from './load-guest.js'
import type { MachineConfig } from './machine-config.js'
import type { OpenedDevice } from './open-backends.js'
import { createPciHost, type PciHost } from './pci-host.js'
import { plugVirtioPci } from './pci-slot.js'
import type { Platform } from './platform.js'
import { plugVirtioDevice } from './virtio-slot.js'

interface Plugged extends OpenedDevice {
  readonly transport: VirtioMmioTransport | VirtioPciTransport
  /** Closes the transport, once however often it is called. */
  close(): Promise<void>
}

/** A machine's virtio devices with their transports, all of the kind that the option `transport` says. */
export class VirtioDevices {
  readonly pci: PciHost | undefined
  /** Told when the guest has let go of the device in a PCI slot. */
  onEject: (slot: number) => void = () => {}
  readonly #slots = new DeviceSlots()
  readonly #platform: Platform
  readonly #config: MachineConfig
  readonly #plugged: Plugged[] = []

  constructor(platform: Platform, config: MachineConfig, acpiPm: AcpiPm, cleanup: Cleanup) {
    this.#platform = platform
    this.#config = config
    if (config.transport === 'pci') {
      const pci = createPciHost(platform, { acpiPm, onEject: (slot) => this.onEject(slot) })
      cleanup.defer(() => pci.bus.close())
      this.pci = pci
    }
    // All at once, so that disks that hang are waited for at the same time.
    cleanup.defer(async () => {
      await Promise.all(this.#plugged.map((plugged) => plugged.close()))
    })
  }

  /** Whether the guest learns of what comes and goes while it runs. */
  get hotPluggable(): boolean {
    return this.pci !== undefined && this.#config.acpi
  }

  /** What the tables tell the guest. */
  get places(): DevicePlaces {
    return { virtioMmio: this.#slots.taken, pci: this.pci?.description }
  }

  /** What each that is plugged in has counted, with its transport. */
  statistics(): DeviceStatistics[] {
    return this.#plugged.map(({ device, transport }) =>
      deviceStatistics(device, transport.counters),
    )
  }

  /** What works by itself stands still while the vCPUs do. */
  pause(): void {
    for (const { transport } of this.#plugged) transport.pause()
  }

  resume(): void {
    for (const { transport } of this.#plugged) transport.resume()
  }

  /**
   * Puts a device into the first free slot.
   * @throws VmmError `ERR_PCI_SLOTS` if there is none; `ERR_KVM_UNSUPPORTED`; KvmError
   */
  plug(opened: OpenedDevice): void {
    const { device, cleanup } = opened
    const transport = this.pci
      ? plugVirtioPci(this.#platform, this.pci, device, this.#config, cleanup)
      : plugVirtioDevice(this.#platform, this.#slots.take(), device, this.#config, cleanup)
    let closing: Promise<void> | undefined
    const close = () => {
      closing ??= transport.close()
      return closing
    }
    cleanup.defer(close)
    this.#plugged.push({ ...opened, transport, close })
  }

  /** The PCI slot in which a device is. */
  slotOf(device: VirtioDevice): number | undefined {
    const transport = this.#find(device)?.transport
    return transport instanceof VirtioPciTransport ? this.pci?.bus.slotOf(transport) : undefined
  }

  /** Takes a device away and closes it, and what it was made of. From the call on the guest does not see it. */
  async remove(device: VirtioDevice): Promise<void> {
    const plugged = this.#find(device)
    if (plugged === undefined) return
    this.#plugged.splice(this.#plugged.indexOf(plugged), 1)
    const { transport, cleanup } = plugged
    if (transport instanceof VirtioPciTransport) this.pci?.bus.unplug(transport)
    await cleanup.run()
  }

  #find(device: VirtioDevice): Plugged | undefined {
    return this.#plugged.find((plugged) => plugged.device === device)
  }
}
