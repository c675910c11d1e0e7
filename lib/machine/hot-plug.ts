import type { VirtioBlock } from '../devices/virtio/block/virtio-block.js'
import type { VirtioNet } from '../devices/virtio/net/virtio-net.js'
import { invalidOption, VmmError } from '../errors.js'
import type { Cleanup } from '../util/cleanup.js'
import { Settled } from '../util/settled.js'
import type { VmDisk, VmNet } from './device-handles.js'
import { checkDisk, checkNet } from './device-options.js'
import { type MachineDevices, type OpenedDevice, openDisk, openNet } from './open-backends.js'
import { awaitStop, type WaitLimits } from './stop-limits.js'
import type { VirtioDevices } from './virtio-devices.js'
import type { VmWarning } from './vm-warning.js'

/** A device that the guest was asked to let go. */
interface Leaving {
  readonly device: VirtioBlock | VirtioNet
  readonly gone: Settled<void>
}

/** Plugs disks and network cards into a machine's PCI bus, and out of it, while the guest runs. */
export class HotPlug {
  readonly #virtio: VirtioDevices
  readonly #devices: Pick<MachineDevices, 'disks' | 'nets'>
  readonly #cleanup: Cleanup
  readonly #warn: (warning: VmWarning) => void
  /** Names of devices are not given twice. */
  readonly #made: { disks: number; nets: number }
  /** By slot. */
  readonly #leaving = new Map<number, Leaving>()
  #ended = false

  constructor(
    virtio: VirtioDevices,
    devices: Pick<MachineDevices, 'disks' | 'nets'>,
    cleanup: Cleanup,
    warn: (warning: VmWarning) => void,
  ) {
    this.#virtio = virtio
    this.#warn = warn
    this.#devices = devices
    this.#cleanup = cleanup
    this.#made = { disks: devices.disks.length, nets: devices.nets.length }
    virtio.onEject = (slot) => this.#ejected(slot)
  }

  async plugDisk(given: unknown): Promise<VmDisk> {
    const config = checkDisk(given, 'disk')
    const name = `block${this.#made.disks++}`
    return await this.#plug(this.#devices.disks, (cleanup) => {
      return openDisk(config, 'disk', name, cleanup)
    })
  }

  async plugNet(given: unknown): Promise<VmNet> {
    const config = checkNet(given, 'net')
    const name = `net${this.#made.nets++}`
    return await this.#plug(this.#devices.nets, (cleanup) => {
      return openNet(config, 'net', name, cleanup, this.#warn)
    })
  }

  async unplug(handle: unknown, limits: WaitLimits): Promise<void> {
    this.#requireHotPlug()
    const { disks, nets } = this.#devices
    const device = [...disks, ...nets].find((device) => device === handle)
    const slot = device && this.#virtio.slotOf(device)
    if (device === undefined || slot === undefined) {
      throw notPlugged(handle)
    }
    const leaving = this.#leaving.get(slot) ?? { device, gone: new Settled() }
    const wait = awaitStop(leaving.gone.promise, limits, `${device.name} has not been let go`)
    this.#leaving.set(slot, leaving)
    this.#virtio.pci?.hotplug.requestEject(slot)
    await wait()
  }

  /** The guest has ended. */
  end(): void {
    this.#ended = true
    for (const { device, gone } of this.#leaving.values()) {
      gone.reject(new VmmError('ERR_STATE', `the guest has ended and not let go of ${device.name}`))
    }
    this.#leaving.clear()
  }

  /** The machine is reset: what it was asked to let go it does not have when it starts anew. */
  async reset(): Promise<void> {
    const leaving = [...this.#leaving]
    for (const [slot] of leaving) this.#ejected(slot)
    await Promise.allSettled(leaving.map(([, { gone }]) => gone.promise))
  }

  async #plug<T extends VirtioBlock | VirtioNet>(
    list: T[],
    open: (cleanup: Cleanup) => Promise<OpenedDevice<T>>,
  ): Promise<T> {
    this.#requireHotPlug()
    const cleanup = this.#cleanup.child()
    try {
      const opened = await open(cleanup)
      if (this.#ended) throw new VmmError('ERR_STATE', 'the guest has ended meanwhile')
      this.#virtio.plug(opened)
      const { device } = opened
      list.push(device)
      this.#virtio.pci?.hotplug.announce(this.#virtio.slotOf(device)!)
      return device
    } catch (error) {
      await cleanup.run().catch(() => {}) // the first error is the one to report
      throw error
    }
  }

  /** A guest may eject what nobody asked it to: that stays where it is, and is found when the bus is looked through again. */
  #ejected(slot: number): void {
    const leaving = this.#leaving.get(slot)
    if (leaving === undefined) return
    this.#leaving.delete(slot)
    const { disks, nets } = this.#devices
    for (const list of [disks, nets] as (VirtioBlock | VirtioNet)[][]) {
      const index = list.indexOf(leaving.device)
      if (index >= 0) list.splice(index, 1)
    }
    leaving.gone.resolve(this.#virtio.remove(leaving.device))
  }

  #requireHotPlug(): void {
    if (this.#virtio.hotPluggable) return
    const expected = "transport: 'pci', and acpi that is not false"
    const message = `devices come and go only in a machine with ${expected}`
    throw new VmmError('ERR_STATE', message, { option: 'transport', expected })
  }
}

/** What is to be unplugged is no device of the machine's. */
export function notPlugged(device: unknown): VmmError {
  return invalidOption('device', device, 'a disk or a network card that is plugged in')
}
