import type { BusDevice, Shortcuts } from '../../bus/bus-device.js'
import {
  type CmosTime,
  cmosTime,
  decode,
  decodeHour,
  encode,
  encodeHour,
  milliseconds,
  RTC_24H,
} from './cmos-time.js'

export const RTC_SECONDS = 0x00
export const RTC_SECONDS_ALARM = 0x01
export const RTC_MINUTES = 0x02
export const RTC_MINUTES_ALARM = 0x03
export const RTC_HOURS = 0x04
export const RTC_HOURS_ALARM = 0x05
export const RTC_DAY_OF_WEEK = 0x06
export const RTC_DAY_OF_MONTH = 0x07
export const RTC_MONTH = 0x08
export const RTC_YEAR = 0x09
export const RTC_REG_A = 0x0a
export const RTC_REG_B = 0x0b
export const RTC_REG_C = 0x0c
export const RTC_REG_D = 0x0d
/** Where the ACPI FADT's CENTURY field points on a PC. */
export const RTC_CENTURY = 0x32

export const RTC_UIP = 0x80
/** Divider for the 32,768 Hz crystal; any other value stops the clock. */
export const RTC_REF_CLCK_32KHZ = 0x20
export const RTC_SET = 0x80
export const RTC_UF = 0x10
export const RTC_VRT = 0x80

const RTC_DIV_CTL = 0x70
const RTC_RATE_1024HZ = 0x06
const BYTES = 128
/** A second ends with 244 µs of warning and 1984 µs of update (MC146818A, table 5); UIP is set for both. */
const UPDATE_MILLISECONDS = 2.228

export interface CmosRtcOptions {
  name?: string
  /** Milliseconds since the Unix epoch; `Date.now` unless told. */
  clock?: () => number
  /** What is in the memory at first, by index: 0x0e to 0x7f, the century's not among them. */
  contents?: ReadonlyMap<number, number>
}

/**
 * The PC's real-time clock and CMOS memory (MC146818A): index port 0x70 (offset 0) and data port 0x71 (offset 1).
 *
 * Time is UTC, from the host's clock plus what the guest set. There is no interrupt: the enable bits in register B are
 * kept but do nothing, and of the flags in register C only UF (the second changed since the last read) is maintained.
 * Bit 7 of the index port masks NMI on a PC; it is kept apart and masks nothing.
 */
export class CmosRtc implements BusDevice {
  readonly name: string
  readonly shortcuts: Shortcuts = { posted: [0] }
  readonly #clock: () => number
  readonly #ram = new Uint8Array(BYTES)
  #index = 0
  #nmiMasked = false
  /** What the guest set its clock ahead of the host's, ms. */
  #offset = 0
  #lastSecond = 0

  constructor(options: CmosRtcOptions = {}) {
    this.name = options.name ?? 'cmos-rtc'
    this.#clock = options.clock ?? Date.now
    this.#ram[RTC_REG_A] = RTC_REF_CLCK_32KHZ | RTC_RATE_1024HZ
    this.#ram[RTC_REG_B] = RTC_24H
    this.#ram[RTC_REG_D] = RTC_VRT
    for (const [index, byte] of options.contents ?? []) this.#ram[index] = byte
    this.#lastSecond = this.#second()
  }

  get nmiMasked(): boolean {
    return this.#nmiMasked
  }

  /** The guest's time, ms since the Unix epoch. */
  get time(): number {
    return this.#clock() + this.#offset
  }

  read(offset: number, width: 1 | 2 | 4): number {
    // The index port cannot be read back.
    if (width !== 1 || offset !== 1) return 2 ** (8 * width) - 1
    return this.#readRegister(this.#index)
  }

  write(offset: number, width: 1 | 2 | 4, value: number): void {
    if (width !== 1) return
    if (offset === 0) {
      this.#index = value & (BYTES - 1)
      this.#nmiMasked = (value & 0x80) !== 0
    } else if (offset === 1) {
      this.#writeRegister(this.#index, value & 0xff)
    }
  }

  #readRegister(index: number): number {
    if (isTimeRegister(index)) {
      this.#latchTime()
    } else if (index === RTC_REG_A) {
      return this.#ram[RTC_REG_A]! | (this.#updating() ? RTC_UIP : 0)
    } else if (index === RTC_REG_C) {
      const second = this.#second()
      const flags = second === this.#lastSecond ? 0 : RTC_UF
      this.#lastSecond = second
      return flags
    }
    return this.#ram[index]!
  }

  #writeRegister(index: number, byte: number): void {
    if (isTimeRegister(index)) {
      this.#latchTime()
      this.#ram[index] = byte
      if (this.#running) this.#adoptTime()
    } else if (index === RTC_REG_A) {
      this.#halting(() => {
        this.#ram[RTC_REG_A] = byte & ~RTC_UIP
      })
    } else if (index === RTC_REG_B) {
      this.#halting(() => {
        this.#ram[RTC_REG_B] = byte
      })
    } else if (index !== RTC_REG_C && index !== RTC_REG_D) {
      this.#ram[index] = byte
    }
  }

  get #running(): boolean {
    return (
      (this.#ram[RTC_REG_B]! & RTC_SET) === 0 &&
      (this.#ram[RTC_REG_A]! & RTC_DIV_CTL) === RTC_REF_CLCK_32KHZ
    )
  }

  /** A change that may stop the clock, which then shows the time at which it stopped, or start it from what it shows. */
  #halting(change: () => void): void {
    const before = this.#running
    this.#latchTime()
    change()
    if (!before && this.#running) this.#adoptTime()
  }

  #updating(): boolean {
    return this.#running && modulo(this.time, 1000) >= 1000 - UPDATE_MILLISECONDS
  }

  #second(): number {
    return Math.floor(this.time / 1000)
  }

  /** Brings the time registers up to date. A stopped clock keeps what they hold. */
  #latchTime(): void {
    if (!this.#running) return
    const control = this.#ram[RTC_REG_B]!
    const time: CmosTime = cmosTime(this.time)
    this.#ram[RTC_SECONDS] = encode(time.second, control)
    this.#ram[RTC_MINUTES] = encode(time.minute, control)
    this.#ram[RTC_HOURS] = encodeHour(time.hour, control)
    this.#ram[RTC_DAY_OF_WEEK] = time.weekday
    this.#ram[RTC_DAY_OF_MONTH] = encode(time.day, control)
    this.#ram[RTC_MONTH] = encode(time.month, control)
    this.#ram[RTC_YEAR] = encode(time.year % 100, control)
    this.#ram[RTC_CENTURY] = encode(Math.floor(time.year / 100) % 100, control)
  }

  /** Makes the registers' time the guest's time, from now on. */
  #adoptTime(): void {
    const control = this.#ram[RTC_REG_B]!
    const guest = milliseconds({
      second: decode(this.#ram[RTC_SECONDS]!, control),
      minute: decode(this.#ram[RTC_MINUTES]!, control),
      hour: decodeHour(this.#ram[RTC_HOURS]!, control),
      day: decode(this.#ram[RTC_DAY_OF_MONTH]!, control),
      month: decode(this.#ram[RTC_MONTH]!, control),
      year: decode(this.#ram[RTC_CENTURY]!, control) * 100 + decode(this.#ram[RTC_YEAR]!, control),
    })
    const now = this.#clock()
    // Setting the time does not restart the fraction of a second.
    this.#offset = guest - (now - modulo(now, 1000))
    this.#lastSecond = this.#second()
  }
}

function isTimeRegister(index: number): boolean {
  return index <= RTC_YEAR ? index >= RTC_DAY_OF_WEEK || index % 2 === 0 : index === RTC_CENTURY
}

function modulo(value: number, divisor: number): number {
  return value - Math.floor(value / divisor) * divisor
}
