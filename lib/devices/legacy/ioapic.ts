import type { BusDevice } from '../../bus/bus-device.js'
import type { IrqLine } from '../../interrupt/irq-line.js'

// Intel 82093AA I/O APIC, sections 3.0 to 3.2, with the EOI register of its successors (version 20h).
export const IOAPIC_IOREGSEL = 0x00
export const IOAPIC_IOWIN = 0x10
export const IOAPIC_EOI = 0x40
export const IOAPIC_WINDOW = 0x1000
const IOAPICID = 0
const IOAPICVER = 1
const IOAPICARB = 2
const IOREDTBL = 0x10
const VERSION = 0x20

// Of a redirection table entry, low half.
const VECTOR = 0xff
const DELIVERY_MODE = 0x700
const DESTINATION_LOGICAL = 1 << 11
const DELIVERY_STATUS = 1 << 12
const REMOTE_IRR = 1 << 14
const TRIGGER_LEVEL = 1 << 15
const MASKED = 1 << 16
const READ_ONLY = DELIVERY_STATUS | REMOTE_IRR
const WRITABLE = 0x1_ffff & ~READ_ONLY
const DESTINATION = 0xff00_0000

// The message that an interrupt is (Intel SDM vol. 3, section 11.11).
const MESSAGE_ADDRESS = 0xfee0_0000
const MESSAGE_LOGICAL = 1 << 2
const MESSAGE_ASSERT = 1 << 14

/** An interrupt's message to the local APICs. */
export interface IoapicMessage {
  readonly addressLow: number
  readonly addressHigh: number
  readonly data: number
}

/** What {@link Ioapic} takes. */
export interface IoapicOptions {
  readonly pins: number
  /** An interrupt, to be delivered now. */
  readonly send: (message: IoapicMessage) => void
  /**
   * What edges at a pin are sent as from now on, for lines that are raised past this device; `undefined` while it is
   * masked. Of a pin with levels, what its vector is known by.
   */
  readonly route: (pin: number, message: IoapicMessage | undefined) => void
}

interface Pin {
  low: number
  high: number
  /** Lines that hold it up. */
  holders: number
}

/** An I/O APIC: turns lines into messages to the local APICs, as the guest has programmed it. */
export class Ioapic implements BusDevice {
  readonly name = 'ioapic'
  readonly #options: IoapicOptions
  readonly #pins: Pin[]
  #select = 0
  #id = 0

  constructor(options: IoapicOptions) {
    this.#options = options
    this.#pins = Array.from({ length: options.pins }, () => ({ low: MASKED, high: 0, holders: 0 }))
  }

  /** A line to a pin. Several to one are wired together. */
  line(gsi: number): IrqLine {
    const pin = this.#pins[gsi]
    if (pin === undefined) throw new RangeError(`there is no pin ${gsi}`)
    let asserted = false
    const set = (level: boolean) => {
      if (level === asserted) return
      asserted = level
      pin.holders += level ? 1 : -1
      if (level && pin.holders === 1) this.#raise(pin)
    }
    return {
      gsi,
      assert: () => set(true),
      deassert: () => set(false),
      pulse() {
        if (asserted) return
        set(true)
        set(false)
      },
    }
  }

  /** A local APIC has seen the end of an interrupt with that vector, which was a level. */
  endOfInterrupt(vector: number): void {
    for (const pin of this.#pins) {
      if ((pin.low & REMOTE_IRR) === 0 || (pin.low & VECTOR) !== vector) continue
      pin.low &= ~REMOTE_IRR
      if (pin.holders > 0) this.#raise(pin)
    }
  }

  read(offset: number, width: 1 | 2 | 4): number {
    if (width !== 4) return 2 ** (8 * width) - 1
    if (offset === IOAPIC_IOREGSEL) return this.#select
    return offset === IOAPIC_IOWIN ? this.#readRegister() : 0
  }

  write(offset: number, width: 1 | 2 | 4, value: number): void {
    if (width !== 4) return
    if (offset === IOAPIC_IOREGSEL) this.#select = value & 0xff
    else if (offset === IOAPIC_IOWIN) this.#writeRegister(value)
    else if (offset === IOAPIC_EOI) this.endOfInterrupt(value & VECTOR)
  }

  /** As after power on; lines keep their levels. */
  reset(): void {
    this.#select = 0
    this.#id = 0
    for (const [index, pin] of this.#pins.entries()) {
      pin.low = MASKED
      pin.high = 0
      this.#options.route(index, undefined)
    }
  }

  #readRegister(): number {
    const select = this.#select
    if (select === IOAPICID || select === IOAPICARB) return this.#id
    if (select === IOAPICVER) return VERSION | ((this.#pins.length - 1) << 16)
    const pin = this.#pins[(select - IOREDTBL) >> 1]
    if (pin === undefined) return 0
    return (select & 1 ? pin.high : pin.low) >>> 0
  }

  #writeRegister(value: number): void {
    const select = this.#select
    if (select === IOAPICID) this.#id = value & 0x0f00_0000
    const index = (select - IOREDTBL) >> 1
    const pin = this.#pins[index]
    if (pin === undefined) return
    if (select & 1) pin.high = value & DESTINATION
    else {
      pin.low = (value & WRITABLE) | (pin.low & READ_ONLY)
      // Drivers of older chips end a level by making it an edge for a moment.
      if ((pin.low & TRIGGER_LEVEL) === 0) pin.low &= ~REMOTE_IRR
    }
    this.#route(index, pin)
    if (pin.holders > 0 && pin.low & TRIGGER_LEVEL) this.#raise(pin)
  }

  #route(index: number, pin: Pin): void {
    const masked = (pin.low & MASKED) !== 0
    // A masked level may be in service: its end is to be heard of.
    if (masked && pin.low & TRIGGER_LEVEL) return
    this.#options.route(index, masked ? undefined : message(pin))
  }

  #raise(pin: Pin): void {
    if (pin.low & (MASKED | REMOTE_IRR)) return
    if (pin.low & TRIGGER_LEVEL) pin.low |= REMOTE_IRR
    this.#options.send(message(pin))
  }
}

function message({ low, high }: Pin): IoapicMessage {
  const destination = (high & DESTINATION) >>> 12
  const mode = low & DESTINATION_LOGICAL ? MESSAGE_LOGICAL : 0
  return {
    addressLow: (MESSAGE_ADDRESS | destination | mode) >>> 0,
    addressHigh: 0,
    data: (low & (VECTOR | DELIVERY_MODE | TRIGGER_LEVEL)) | MESSAGE_ASSERT,
  }
}
