import type { BusDevice } from '../../bus/bus-device.js'
import type { IrqLine } from '../../interrupt/irq-line.js'

// Offsets in the block, which has the order of a PIIX4's. Each is the address of one FADT field.
/** PM1a_EVT_BLK, 4 bytes: status, then enable. */
export const PM1_STS = 0x00
export const PM1_EN = 0x02
/** PM1a_CNT_BLK, 2 bytes. */
export const PM1_CNT = 0x04
/** GPE0_BLK, 2 bytes: the status of 8 events, then their enable bits. */
export const GPE0_STS = 0x06
export const GPE0_EN = 0x07
/** PM_TMR_BLK, 4 bytes, 32 bits wide (FADT flag TMR_VAL_EXT). */
export const PM_TMR = 0x08
/** RESET_REG, 1 byte. */
export const RESET_REG = 0x0c
/** SLEEP_CONTROL_REG, 1 byte (hardware-reduced ACPI). */
export const SLEEP_CONTROL = 0x0d
/** SLEEP_STATUS_REG, 1 byte. */
export const SLEEP_STATUS = 0x0e
export const ACPI_PM_PORTS = 0x10

/** What the FADT's RESET_VALUE must say. */
export const RESET_VALUE = 0x01
/** The SLP_TYP that the DSDT's \_S5 package must give. */
export const SLP_TYP_S5 = 5

export const TMR_STS = 0x0001
export const GBL_STS = 0x0020
export const PWRBTN_STS = 0x0100
export const SLPBTN_STS = 0x0200
export const RTC_STS = 0x0400
export const WAK_STS = 0x8000
const STS_BITS = TMR_STS | 0x0010 | GBL_STS | PWRBTN_STS | SLPBTN_STS | RTC_STS | WAK_STS
const EN_BITS = TMR_STS | GBL_STS | PWRBTN_STS | SLPBTN_STS | RTC_STS

export const SCI_EN = 0x0001
const BM_RLD = 0x0002
const SLP_TYP = 0x1c00
export const SLP_EN = 0x2000
const SLEEP_CONTROL_SLP_TYP = 0x1c
const SLEEP_CONTROL_SLP_EN = 0x20

/** Ticks of the PM timer per second. */
export const PM_TIMER_FREQUENCY = 3_579_545

export interface AcpiPmOptions {
  name?: string
  /** The system control interrupt: a level, FADT's SCI_INT. */
  sci: IrqLine
  /** Called once, until `reset()`, when the guest enters S5. */
  onPowerOff: () => void
  /** Called once, until `reset()`, when the guest writes RESET_VALUE to the reset register. */
  onReset: () => void
  /** A monotonic clock in nanoseconds; `process.hrtime.bigint` unless told. */
  clock?: () => bigint
}

/**
 * ACPI's fixed hardware (ACPI 6.5, sections 4.8.3 and 4.8.4): PM1 event and control blocks with the power button,
 * eight general-purpose events (4.8.4.1), the PM timer, the reset register, and the sleep registers of hardware-reduced ACPI (4.8.3.7), of which S5 alone exists.
 *
 * There is no SMI command port, so the machine is in ACPI mode from the start and SCI_EN always reads 1. The timer's
 * carry does not raise TMR_STS. Accesses of any width up to 4 work, byte by byte, as the interpreter may choose.
 */
export class AcpiPm implements BusDevice {
  readonly name: string
  readonly #sci: IrqLine
  readonly #onPowerOff: () => void
  readonly #onReset: () => void
  readonly #clock: () => bigint
  #status = 0
  #enable = 0
  #gpeStatus = 0
  #gpeEnable = 0
  #control = SCI_EN
  #sleepControl = 0
  #started: bigint
  #asserted = false
  #poweredOff = false
  #fired = false
  /** The power button was pressed while nobody listened. */
  #pressed = false

  constructor(options: AcpiPmOptions) {
    this.name = options.name ?? 'acpi-pm'
    this.#sci = options.sci
    this.#onPowerOff = options.onPowerOff
    this.#onReset = options.onReset
    this.#clock = options.clock ?? (() => process.hrtime.bigint())
    this.#started = this.#clock()
  }

  /**
   * Presses and releases the power button: a guest that listens shuts down. One that does not yet listen learns of it as
   * soon as it does: what was pressed earlier, its driver would clear unseen.
   */
  pressPowerButton(): void {
    if (!this.powerButtonEnabled) {
      this.#pressed = true
      return
    }
    this.#status |= PWRBTN_STS
    this.#update()
  }

  /** Raises a general-purpose event, 0 to 7, whose method `\_GPE._E0n` the guest then runs. */
  raiseGpe(event: number): void {
    this.#gpeStatus |= 1 << event
    this.#update()
  }

  /** Whether the guest has asked to be told of the power button. */
  get powerButtonEnabled(): boolean {
    return (this.#enable & PWRBTN_STS) !== 0
  }

  reset(): void {
    this.#status = 0
    this.#enable = 0
    this.#gpeStatus = 0
    this.#gpeEnable = 0
    this.#control = SCI_EN
    this.#sleepControl = 0
    this.#started = this.#clock()
    this.#poweredOff = false
    this.#fired = false
    this.#pressed = false
    this.#update()
  }

  read(offset: number, width: 1 | 2 | 4): number {
    const timer = offset + width > PM_TMR && offset < PM_TMR + 4 ? this.#ticks() : 0
    let value = 0
    for (let i = width - 1; i >= 0; i--) value = value * 256 + this.#readByte(offset + i, timer)
    return value
  }

  write(offset: number, width: 1 | 2 | 4, value: number): void {
    for (let i = 0; i < width; i++) this.#writeByte(offset + i, (value >>> (8 * i)) & 0xff)
    this.#update()
  }

  #readByte(offset: number, timer: number): number {
    const high = (offset & 1) * 8
    if (offset < PM1_EN) return (this.#status >> high) & 0xff
    if (offset < PM1_CNT) return (this.#enable >> high) & 0xff
    if (offset < PM1_CNT + 2) return (this.#control >> high) & 0xff
    if (offset === GPE0_STS) return this.#gpeStatus
    if (offset === GPE0_EN) return this.#gpeEnable
    if (offset >= PM_TMR && offset < PM_TMR + 4) return (timer >>> ((offset - PM_TMR) * 8)) & 0xff
    if (offset === RESET_REG) return 0
    if (offset === SLEEP_CONTROL) return this.#sleepControl
    if (offset === SLEEP_STATUS) return 0
    return 0xff
  }

  #writeByte(offset: number, byte: number): void {
    const high = (offset & 1) * 8
    const bits = byte << high
    const kept = 0xff00 >> high
    if (offset < PM1_EN) {
      // Written with 1 to clear.
      this.#status &= ~bits & STS_BITS
    } else if (offset < PM1_CNT) {
      this.#enable = ((this.#enable & kept) | bits) & EN_BITS
      if (this.#pressed && this.powerButtonEnabled) {
        this.#pressed = false
        this.#status |= PWRBTN_STS
      }
    } else if (offset < PM1_CNT + 2) {
      this.#control = (((this.#control & kept) | bits) & (BM_RLD | SLP_TYP)) | SCI_EN
      if (bits & SLP_EN) this.#sleep((this.#control & SLP_TYP) >> 10)
    } else if (offset === GPE0_STS) {
      this.#gpeStatus &= ~byte
    } else if (offset === GPE0_EN) {
      this.#gpeEnable = byte
    } else if (offset === RESET_REG) {
      if (byte === RESET_VALUE) this.#resetMachine()
    } else if (offset === SLEEP_CONTROL) {
      this.#sleepControl = byte & SLEEP_CONTROL_SLP_TYP
      if (byte & SLEEP_CONTROL_SLP_EN) this.#sleep(this.#sleepControl >> 2)
    }
  }

  /** Other states than S5 are not announced; a guest that enters one wakes at once. */
  #sleep(type: number): void {
    if (type !== SLP_TYP_S5) {
      this.#status |= WAK_STS
      return
    }
    if (this.#poweredOff) return
    this.#poweredOff = true
    this.#onPowerOff()
  }

  #resetMachine(): void {
    if (this.#fired) return
    this.#fired = true
    this.#onReset()
  }

  #ticks(): number {
    const nanoseconds = this.#clock() - this.#started
    return Number(BigInt.asUintN(32, (nanoseconds * BigInt(PM_TIMER_FREQUENCY)) / 1_000_000_000n))
  }

  /** The SCI is a level: it falls when every enabled status bit is clear. WAK_STS has no enable bit. */
  #update(): void {
    const fixed = this.#status & this.#enable & EN_BITS
    const level = (fixed | (this.#gpeStatus & this.#gpeEnable)) !== 0
    if (level === this.#asserted) return
    this.#asserted = level
    if (level) this.#sci.assert()
    else this.#sci.deassert()
  }
}
