import type { Bus } from '../../bus/bus.js'
import { invalidOption, VmmError } from '../../errors.js'
import type { IrqLine, MsiLine } from '../../interrupt/irq-line.js'
import { PCI_CFG_SPACE_SIZE, PCI_SLOTS } from './abi.js'
import { ConfigMemory } from './config-memory.js'
import { SharedLine } from './intx.js'
import type { PciDevice } from './pci-device.js'
import { type BridgeRanges, WindowDecoder } from './window-decoder.js'

/** What a PCI bus is made of. */
export interface PciBusOptions {
  /** Where windows of ports go. */
  readonly pio: Bus
  /** Where windows of memory go. */
  readonly mmio: Bus
  /** Where windows may be. */
  readonly ranges: BridgeRanges
  /** What the interrupt pins are wired to: INTA# of the device in slot n to line n modulo their number. */
  readonly lines: readonly IrqLine[]
  /** The slots that are given to who asks for none in particular. All unless told. */
  readonly slots?: readonly number[]
  /** One more interrupt by message. @throws what keeps the host from giving it */
  createMsi(): MsiLine
}

/** Which of `lines` lines the pin of the device in `slot` is wired to (pin 0 is INTA#). */
export function intxLine(slot: number, pin: number, lines: number): number {
  return (slot + pin) % lines
}

/** The bus below a host bridge: 32 slots for devices of one function each. */
export class PciBus {
  /** What reads of configuration space give. */
  readonly configMemory = new ConfigMemory()
  readonly #slots: (PciDevice | undefined)[] = Array(PCI_SLOTS).fill(undefined)
  readonly #decoder: WindowDecoder
  readonly #lines: readonly SharedLine[]
  readonly #given: readonly number[]
  readonly #createMsi: () => MsiLine

  constructor(options: PciBusOptions) {
    this.#decoder = new WindowDecoder(options, options.ranges)
    this.#lines = options.lines.map((line) => new SharedLine(line))
    this.#given = options.slots ?? Array.from({ length: PCI_SLOTS }, (_, slot) => slot)
    this.#createMsi = options.createMsi
  }

  /** The devices in order of their slots. */
  get devices(): readonly (readonly [slot: number, device: PciDevice])[] {
    return this.#slots.flatMap((device, slot) => (device ? [[slot, device] as const] : []))
  }

  /** The device in a slot, from 0 to 31. */
  deviceIn(slot: number): PciDevice | undefined {
    return this.#slots[slot]
  }

  /** Where a device is plugged in. */
  slotOf(device: PciDevice): number | undefined {
    const slot = this.#slots.indexOf(device)
    return slot < 0 ? undefined : slot
  }

  /**
   * Plugs a device in.
   * @param slot 0 to 31; the first that is free unless told
   * @returns the slot
   * @throws VmmError `ERR_PCI_SLOTS` if none is free, `ERR_INVALID_OPTION` for a slot that is taken or does not exist
   */
  plug(device: PciDevice, slot = this.#freeSlot()): number {
    if (!Number.isInteger(slot) || slot < 0 || slot >= PCI_SLOTS || this.#slots[slot]) {
      throw invalidOption('slot', slot, `a slot from 0 to ${PCI_SLOTS - 1} that is free`)
    }
    const line = this.#lines[intxLine(slot, 0, this.#lines.length)]!
    device.plugged({
      number: slot,
      intx: line.input(),
      createMsi: this.#createMsi,
      windowsChanged: () => this.#decoder.update(),
    })
    this.#slots[slot] = device
    // Nobody is to see half of it.
    this.configMemory.setReadable(slot, () => false)
    device.config.moveTo(this.configMemory.bytesOf(slot))
    this.configMemory.setReadable(slot, (offset) => device.isPlainConfig(offset))
    this.#decoder.add(device.windows)
    return slot
  }

  /** Pulls a device out: from then on its addresses and its configuration space read as all ones. */
  unplug(device: PciDevice): void {
    const slot = this.slotOf(device)
    if (slot === undefined) return
    this.#slots[slot] = undefined
    device.config.moveTo(new Uint8Array(PCI_CFG_SPACE_SIZE))
    this.configMemory.clear(slot)
    this.#decoder.remove(device.windows)
    device.unplugged()
  }

  /** Resets every device; resolves when no I/O of theirs can touch guest memory any more. */
  async reset(): Promise<void> {
    await Promise.all(this.devices.map(([, device]) => device.reset()))
  }

  /** Pulls every device out. */
  close(): void {
    for (const [, device] of this.devices) this.unplug(device)
  }

  /** A read of configuration space; what is not there reads as all ones. */
  readConfig(address: ConfigAddress, width: 1 | 2 | 4): number {
    return this.#target(address, width)?.readConfig(address.offset, width) ?? 2 ** (8 * width) - 1
  }

  /** A write to configuration space; where no device is it goes nowhere. */
  writeConfig(address: ConfigAddress, width: 1 | 2 | 4, value: number): void {
    this.#target(address, width)?.writeConfig(address.offset, width, value)
  }

  #target({ bus, slot, fn, offset }: ConfigAddress, width: number): PciDevice | undefined {
    if (bus !== 0 || fn !== 0 || offset >= PCI_CFG_SPACE_SIZE) return undefined
    if ((offset % 4) + width > 4) return undefined // no transaction crosses a double word
    return this.#slots[slot]
  }

  #freeSlot(): number {
    const slot = this.#given.find((slot) => this.#slots[slot] === undefined)
    if (slot !== undefined) return slot
    const slots = this.#given.length
    throw new VmmError('ERR_PCI_SLOTS', `all ${slots} PCI slots for devices are taken`)
  }
}

/** Where a configuration access goes. */
export interface ConfigAddress {
  /** 0 to 255. */
  readonly bus: number
  /** 0 to 31. */
  readonly slot: number
  /** 0 to 7. */
  readonly fn: number
  /** In bytes, below 4096. */
  readonly offset: number
}
