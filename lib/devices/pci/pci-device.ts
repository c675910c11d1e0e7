import { invalidOption, VmmError } from '../../errors.js'
import type { MsiLine } from '../../interrupt/irq-line.js'
import { isPowerOfTwo } from '../../util/bits.js'
import {
  PCI_CACHE_LINE_SIZE,
  PCI_CAP_ID_MSIX,
  PCI_CAPABILITY_LIST,
  PCI_CFG_SPACE_SIZE,
  PCI_CLASS_REVISION,
  PCI_COMMAND,
  PCI_COMMAND_INTX_DISABLE,
  PCI_COMMAND_IO,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
  PCI_COMMAND_PARITY,
  PCI_COMMAND_SERR,
  PCI_DEVICE_ID,
  PCI_INTERRUPT_LINE,
  PCI_INTERRUPT_PIN,
  PCI_STATUS,
  PCI_STATUS_CAP_LIST,
  PCI_STATUS_INTERRUPT,
  PCI_STD_HEADER_SIZEOF,
  PCI_STD_NUM_BARS,
  PCI_SUBSYSTEM_ID,
  PCI_SUBSYSTEM_VENDOR_ID,
  PCI_VENDOR_ID,
} from './abi.js'
import { type AddressWindow, Bar, type BarOptions } from './address-window.js'
import { ConfigSpace } from './config-space.js'
import type { IntxInput } from './intx.js'
import { Msix, type MsixPlace, msixCapability, msixWritable } from './msix.js'

/** What a device is, as the guest's drivers look for it. */
export interface PciIdentity {
  /** 16 bits. */
  readonly vendorId: number
  /** 16 bits. */
  readonly deviceId: number
  /** 24 bits: class, subclass, programming interface, such as {@link PCI_CLASS_NETWORK_ETHERNET}. */
  readonly classCode: number
  /** 8 bits. 0 unless told. */
  readonly revision?: number
  /** 16 bits: `vendorId` unless told. */
  readonly subsystemVendorId?: number
  /** 16 bits: `deviceId` unless told. */
  readonly subsystemId?: number
  /** Whether it has the interrupt pin INTA#. `false` unless told. */
  readonly interruptPin?: boolean
}

/** What a device that is plugged in reaches the machine by. */
export interface PciSlot {
  /** 0 to 31. */
  readonly number: number
  /** The interrupt pin INTA#, as it is wired for this slot. */
  readonly intx: IntxInput
  /** One more interrupt by message. @throws what keeps the host from giving one more */
  createMsi(): MsiLine
  /** The registers that say where the device's windows are may have changed. */
  windowsChanged(): void
}

const COMMAND_BITS =
  PCI_COMMAND_IO |
  PCI_COMMAND_MEMORY |
  PCI_COMMAND_MASTER |
  PCI_COMMAND_PARITY |
  PCI_COMMAND_SERR |
  PCI_COMMAND_INTX_DISABLE

/**
 * A conventional PCI device of one function: configuration space with a header of type 0, windows behind base address
 * registers, an interrupt pin and MSI-X. Extend it, or make one and add what it has before it is plugged in.
 *
 * No method throws for what a guest writes.
 *
 * @example
 * ```ts
 * const doorbell = new PciDevice('doorbell', { vendorId: 0x1234, deviceId: 0x11e8, classCode: PCI_CLASS_OTHERS })
 * let rings = 0
 * doorbell.addBar(0, {
 *   kind: 'memory32',
 *   size: 4096,
 *   device: { name: 'doorbell', read: () => rings, write: () => void rings++ },
 * })
 * ```
 */
export class PciDevice {
  /** For errors and statistics. */
  readonly name: string
  /** What the guest sees of it. */
  readonly config = new ConfigSpace()
  readonly #windows: AddressWindow[] = []
  readonly #bars: Bar[] = []
  #msix: Msix | undefined
  #msixOffset = 0
  #slot: PciSlot | undefined
  #lastCapability = PCI_CAPABILITY_LIST
  #nextCapability = PCI_STD_HEADER_SIZEOF
  #intx = false

  constructor(name: string, identity: PciIdentity) {
    this.name = name
    const { vendorId, deviceId, classCode, revision = 0, interruptPin = false } = identity
    const { config } = this
    config.define(PCI_VENDOR_ID, 2, vendorId)
    config.define(PCI_DEVICE_ID, 2, deviceId)
    config.define(PCI_COMMAND, 2, 0, COMMAND_BITS)
    config.define(PCI_CLASS_REVISION, 4, classCode * 256 + revision)
    config.define(PCI_CACHE_LINE_SIZE, 1, 0, 0xff)
    config.define(PCI_SUBSYSTEM_VENDOR_ID, 2, identity.subsystemVendorId ?? vendorId)
    config.define(PCI_SUBSYSTEM_ID, 2, identity.subsystemId ?? deviceId)
    config.define(PCI_INTERRUPT_LINE, 1, 0, 0xff)
    config.define(PCI_INTERRUPT_PIN, 1, interruptPin ? 1 : 0)
  }

  /** The places that the guest's registers give it. */
  get windows(): readonly AddressWindow[] {
    return this.#windows
  }

  /** In the order of their registers. */
  get bars(): readonly Bar[] {
    return this.#bars
  }

  /** Absent without a call of `addMsix`. */
  get msix(): Msix | undefined {
    return this.#msix
  }

  /**
   * Adds a base address register.
   * @param index 0 to 5, and to 4 for `memory64`, which takes two
   * @throws VmmError `ERR_INVALID_OPTION` for a register that is taken or a size that cannot be
   */
  addBar(index: number, options: BarOptions): Bar {
    const { kind, size } = options
    const wide = kind === 'memory64'
    const taken = this.#bars.flatMap((bar) =>
      bar.kind === 'memory64' ? [bar.index, bar.index + 1] : [bar.index],
    )
    const last = PCI_STD_NUM_BARS - (wide ? 2 : 1)
    if (!(Number.isInteger(index) && index >= 0 && index <= last)) {
      throw invalidOption('index', index, `a whole number from 0 to ${last}`)
    }
    if (taken.includes(index) || (wide && taken.includes(index + 1))) {
      throw invalidOption('index', index, 'a base address register that is not taken')
    }
    const [min, max] = kind === 'io' ? [4, 256] : [16, wide ? 2 ** 40 : 2 ** 31]
    if (!isPowerOfTwo(size) || size < min || size > max) {
      throw invalidOption('size', size, `a power of two from ${min} to ${max}`)
    }
    const bar = new Bar(this.config, index, options)
    this.#bars.push(bar)
    this.addWindow(bar)
    return bar
  }

  /** Adds a range that other registers than a base address register place. */
  addWindow(window: AddressWindow): void {
    this.#windows.push(window)
  }

  /**
   * Adds a capability to the list (PCI 3.0, 6.7).
   * @param body what follows its id and the pointer to the next
   * @param writable which bits of `body` the guest may write; none unless told
   * @returns its offset
   * @throws VmmError `ERR_INVALID_OPTION` if the configuration space is full
   */
  addCapability(id: number, body: Uint8Array, writable?: Uint8Array): number {
    const offset = this.#nextCapability
    if (body.length + 2 > PCI_CFG_SPACE_SIZE - offset) {
      const room = PCI_CFG_SPACE_SIZE - offset - 2
      throw invalidOption('body', body.length, `at most ${room} bytes, which is the room left`)
    }
    const { config } = this
    config.define(this.#lastCapability, 1, offset)
    config.define(offset, 1, id)
    for (const [i, byte] of body.entries()) config.define(offset + 2 + i, 1, byte, writable?.[i])
    config.define(PCI_STATUS, 2, PCI_STATUS_CAP_LIST)
    this.#lastCapability = offset + 1
    this.#nextCapability = (offset + 2 + body.length + 3) & ~3
    return offset
  }

  /**
   * Adds the MSI-X capability. The device has the accesses to the table and the pending bits in its window answered by
   * `table` and `pendingBits` of what this returns.
   */
  addMsix(place: MsixPlace): Msix {
    this.#msixOffset = this.addCapability(PCI_CAP_ID_MSIX, msixCapability(place), msixWritable())
    this.#msix = new Msix(this.name, this.config, this.#msixOffset, place)
    return this.#msix
  }

  /**
   * Called by what the device is plugged into.
   * @throws VmmError `ERR_STATE` if it is plugged in somewhere already
   */
  plugged(slot: PciSlot): void {
    if (this.#slot) throw new VmmError('ERR_STATE', `${this.name} is plugged in already`)
    this.#slot = slot
    if (this.#msix) this.#connect(this.#msix, slot)
  }

  /** Called when it is pulled out or the machine is closed. */
  unplugged(): void {
    this.#slot?.intx.set(false)
    this.#slot = undefined
    this.#msix?.close()
  }

  /** The level of the interrupt pin, which reaches nobody while MSI-X is enabled or the guest has disabled the pin. */
  setIntx(level: boolean): void {
    this.#intx = level
    this.#updateIntx()
  }

  /** The guest reads configuration space: at most one aligned double word of the 256 bytes. */
  readConfig(offset: number, width: 1 | 2 | 4): number {
    return this.config.get(offset, width)
  }

  /**
   * Whether reads of the double word at `offset` are answered by `config` as it is, so that vCPUs' threads may do it. All
   * are, unless told, of a device that does not override `readConfig`.
   */
  isPlainConfig(_offset: number): boolean {
    return this.readConfig === PciDevice.prototype.readConfig
  }

  /** The guest writes configuration space. */
  writeConfig(offset: number, width: 1 | 2 | 4, value: number): void {
    this.config.write(offset, width, value)
    this.#slot?.windowsChanged()
    if ((offset & ~3) === this.#msixOffset) this.#msix?.flagsWritten()
    this.#updateIntx()
  }

  /** As after power-on. What is returned resolves when no I/O of the device's can touch guest memory any more. */
  reset(): void | Promise<void> {
    this.config.reset()
    this.#msix?.reset()
    this.setIntx(false)
    this.#slot?.windowsChanged()
  }

  #connect(msix: Msix, slot: PciSlot): void {
    const lines: MsiLine[] = []
    try {
      while (lines.length < msix.vectors) lines.push(slot.createMsi())
    } catch (error) {
      for (const line of lines) line.close()
      this.#slot = undefined
      throw error
    }
    msix.connect(lines)
  }

  #updateIntx(): void {
    const disabled = (this.config.get(PCI_COMMAND, 2) & PCI_COMMAND_INTX_DISABLE) !== 0
    // 6.2.3: the status bit shows what the device wants, whether or not the pin is disabled.
    if (this.#intx) this.config.bytes[PCI_STATUS]! |= PCI_STATUS_INTERRUPT
    else this.config.bytes[PCI_STATUS]! &= ~PCI_STATUS_INTERRUPT
    this.#slot?.intx.set(this.#intx && !disabled && !this.#msix?.enabled)
  }
}
