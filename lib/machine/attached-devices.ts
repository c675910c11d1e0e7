import type { BusDevice } from '../bus/bus-device.js'
import type { PciBus } from '../devices/pci/pci-bus.js'
import { PciDevice } from '../devices/pci/pci-device.js'
import { describe, invalidOption } from '../errors.js'
import type { IrqLine } from '../interrupt/irq-line.js'
import type { GuestMemory } from '../memory/guest-memory.js'
import { blameOption } from './blame-option.js'
import * as check from './option-checks.js'
import type { Platform } from './platform.js'

/** What a device of a program's own has to work with. */
export interface AttachContext {
  /** The guest's physical memory. */
  readonly memory: GuestMemory
  /** The line to a pin of the interrupt controllers: 0 to 23. Which are free, `docs/write-a-device.md` tells. */
  irqLine(gsi: number): IrqLine
}

/** A device of a program's own, and where it answers: at ports, or at guest-physical addresses without memory. */
export type AttachedDevice = AttachedBusDevice | AttachedPciDevice

/** A device on the PCI bus, in the first slot that is free, which says itself how large its windows are. */
export interface AttachedPciDevice {
  /** The device, or what makes it for a machine. Needs `transport: 'pci'`. */
  readonly pci: PciDevice | ((context: AttachContext) => PciDevice)
}

type AttachedBusDevice = {
  /** The device, or what makes it for a machine. One with a method `reset` is reset with the machine. */
  readonly device: BusDevice | ((context: AttachContext) => BusDevice)
  /** How many ports or bytes. */
  readonly size: number
} & ({ readonly port: number } | { readonly mmio: number })

const shape = check.object({
  device: check.value<AttachedBusDevice['device']>(
    'a device with a name, read and write, or a function that makes it',
    (given) => typeof given === 'function' || isDevice(given),
  ),
  size: check.integer(1),
  port: check.optional(check.integer(0, 0xffff)),
  mmio: check.optional(check.integer(0)),
})

const pciShape = check.object({
  pci: check.value<AttachedPciDevice['pci']>(
    'a PciDevice, or a function that makes it',
    (given) => typeof given === 'function' || given instanceof PciDevice,
  ),
})

/** An {@link AttachedDevice}, checked. */
export type AttachedDeviceConfig = Readonly<ReturnType<typeof shape>> | AttachedPciDevice

export const checkAttach = check.list<AttachedDeviceConfig>(
  'an array of devices, { device, size, port }, { device, size, mmio } or { pci }',
  (given, name) => {
    if (typeof given === 'object' && given !== null && 'pci' in given) return pciShape(given, name)
    const checked = shape(given, name)
    if ((checked.port === undefined) === (checked.mmio === undefined)) {
      throw invalidOption(name, given, 'one of port and mmio')
    }
    return checked
  },
)

function isDevice(given: unknown): given is BusDevice {
  if (typeof given !== 'object' || given === null) return false
  const { name, read, write } = given as Readonly<Record<string, unknown>>
  return typeof name === 'string' && typeof read === 'function' && typeof write === 'function'
}

/** @throws VmmError naming the device at fault: `attach[1]` */
export function attachOwnDevices(
  { irqchip, memory, pio, mmio, resettable }: Platform,
  attach: readonly AttachedDeviceConfig[],
  pciBus: PciBus | undefined,
): void {
  const context: AttachContext = {
    memory,
    irqLine: (gsi) => irqchip.line(check.integer(0, 23)(gsi, 'gsi')),
  }
  for (const [index, given] of attach.entries()) {
    try {
      if ('pci' in given) {
        attachPciDevice(given.pci, context, pciBus)
        continue
      }
      const { size, port, mmio: address } = given
      const device = typeof given.device === 'function' ? given.device(context) : given.device
      if (!isDevice(device)) {
        throw invalidOption('device', device, `a device to be made, not ${describe(device)}`)
      }
      if (port !== undefined) pio.attach(port, size, device)
      else mmio.attach(withoutMemory(memory, address!, size), size, device)
      if ('reset' in device) resettable.push(device as { reset(): void })
    } catch (error) {
      throw blameOption(`attach[${index}]`, error)
    }
  }
}

function attachPciDevice(
  given: AttachedPciDevice['pci'],
  context: AttachContext,
  bus: PciBus | undefined,
): void {
  if (bus === undefined) throw invalidOption('pci', given, "a machine with transport: 'pci'")
  const device = typeof given === 'function' ? given(context) : given
  if (!(device instanceof PciDevice)) {
    throw invalidOption('pci', device, `a PciDevice to be made, not ${describe(device)}`)
  }
  bus.plug(device)
}

function withoutMemory(memory: GuestMemory, address: number, size: number): number {
  const overlaps = memory.regions.some(
    (region) => address < region.guestAddress + region.size && region.guestAddress < address + size,
  )
  if (overlaps) throw invalidOption('mmio', address, 'addresses at which the guest has no memory')
  return address
}
