import { PCI_CLASS_SYSTEM_OTHER } from '../pci/abi.js'
import { PciDevice } from '../pci/pci-device.js'
import { Countdown, type CountdownOptions, type Watchdog } from './countdown.js'

// Intel 6300ESB I/O Controller Hub datasheet, chapter 16: watchdog timer. Configuration space:
export const ESB_CONFIG_REG = 0x60
export const ESB_LOCK_REG = 0x68
// Of ESB_CONFIG_REG
const ESB_WDT_INTTYPE = 3
const ESB_WDT_FREQ = 1 << 2
const ESB_WDT_REBOOT = 1 << 5
// Of ESB_LOCK_REG
const ESB_WDT_LOCK = 1 << 0
const ESB_WDT_ENABLE = 1 << 1
const ESB_WDT_FUNC = 1 << 2

// Memory-mapped registers
export const ESB_TIMER1_REG = 0x0
export const ESB_TIMER2_REG = 0x4
export const ESB_GINTSR_REG = 0x8
export const ESB_RELOAD_REG = 0xc
const WINDOW = 0x10
// Of ESB_RELOAD_REG
export const ESB_WDT_RELOAD = 1 << 8
export const ESB_WDT_TIMEOUT = 1 << 9
/** Written to ESB_RELOAD_REG one after the other, they let one write to a register through. */
export const ESB_UNLOCK1 = 0x80
export const ESB_UNLOCK2 = 0x86

const TIMER_MAX = 0xf_ffff
/** PCI clocks of 33 MHz for one tick, by ESB_WDT_FREQ. */
const SLOW_TICK_MS = 2 ** 15 / 33_000
const FAST_TICK_MS = 2 ** 5 / 33_000

/** What {@link I6300esb} takes. */
export interface I6300esbOptions extends CountdownOptions {
  name?: string
  /** Called when the guest has not fed it in time. */
  onExpire: () => void
}

/**
 * The watchdog of Intel's 6300ESB, which QEMU offers as `i6300esb` and Linux drives by `i6300esb`, on PCI. It counts twice:
 * what the end of the first stage would do, an interrupt, drivers leave off; the second stage's is `onExpire`.
 */
export class I6300esb extends PciDevice implements Watchdog {
  readonly #countdown: Countdown
  readonly #onExpire: () => void
  #timer1 = TIMER_MAX
  #timer2 = TIMER_MAX
  #stage = 1
  /** How much of {@link ESB_UNLOCK1} and {@link ESB_UNLOCK2} has been written. */
  #unlocked = 0
  /** Kept through a reset: drivers ask whether that was the watchdog's. */
  #timedOut = false

  constructor(options: I6300esbOptions) {
    super(options.name ?? 'i6300esb', {
      vendorId: 0x8086,
      deviceId: 0x25ab,
      classCode: PCI_CLASS_SYSTEM_OTHER,
    })
    this.#onExpire = options.onExpire
    this.#countdown = new Countdown(() => this.#stageEnded(), options)
    this.config.define(ESB_CONFIG_REG, 2, 0, ESB_WDT_INTTYPE | ESB_WDT_FREQ | ESB_WDT_REBOOT)
    this.config.define(ESB_LOCK_REG, 1, 0, ESB_WDT_LOCK | ESB_WDT_ENABLE | ESB_WDT_FUNC)
    this.addBar(0, {
      kind: 'memory32',
      size: WINDOW,
      device: {
        name: this.name,
        read: (offset, width) => this.#read(offset, width),
        write: (offset, width, value) => this.#write(offset, width, value),
      },
    })
  }

  /** Whether the guest has to feed it. */
  get running(): boolean {
    return this.#countdown.running
  }

  override writeConfig(offset: number, width: 1 | 2 | 4, value: number): void {
    const before = this.config.get(ESB_LOCK_REG, 1)
    super.writeConfig(offset, width, value)
    const after = this.config.get(ESB_LOCK_REG, 1)
    if (before & ESB_WDT_LOCK) this.config.bytes[ESB_LOCK_REG] = before
    else if (!(after & ESB_WDT_ENABLE)) this.#countdown.stop()
    else if (!(before & ESB_WDT_ENABLE)) this.#startStage(1)
  }

  override reset(): void {
    this.#countdown.stop()
    this.#timer1 = TIMER_MAX
    this.#timer2 = TIMER_MAX
    this.#unlocked = 0
    void super.reset()
  }

  pause(): void {
    this.#countdown.pause()
  }

  resume(): void {
    this.#countdown.resume()
  }

  close(): void {
    this.#countdown.stop()
  }

  #read(offset: number, _width: 1 | 2 | 4): number {
    return offset === ESB_RELOAD_REG && this.#timedOut ? ESB_WDT_TIMEOUT : 0
  }

  #write(offset: number, width: 1 | 2 | 4, value: number): void {
    if (offset === ESB_RELOAD_REG && value === ESB_UNLOCK1) {
      this.#unlocked = 1
      return
    }
    if (offset === ESB_RELOAD_REG && value === ESB_UNLOCK2 && this.#unlocked === 1) {
      this.#unlocked = 2
      return
    }
    const unlocked = this.#unlocked === 2
    this.#unlocked = 0
    if (!unlocked) return
    if (offset === ESB_TIMER1_REG && width === 4) this.#timer1 = value & TIMER_MAX
    else if (offset === ESB_TIMER2_REG && width === 4) this.#timer2 = value & TIMER_MAX
    else if (offset === ESB_RELOAD_REG) {
      if (value & ESB_WDT_TIMEOUT) this.#timedOut = false
      if (value & ESB_WDT_RELOAD && this.#countdown.running) this.#startStage(1)
    }
  }

  #startStage(stage: number): void {
    this.#stage = stage
    const fast = (this.config.get(ESB_CONFIG_REG, 2) & ESB_WDT_FREQ) !== 0
    const ticks = stage === 1 ? this.#timer1 : this.#timer2
    // A guest may ask for no time at all: a stage takes a millisecond in any case.
    this.#countdown.start(Math.max(1, ticks * (fast ? FAST_TICK_MS : SLOW_TICK_MS)))
  }

  #stageEnded(): void {
    const freeRunning = (this.config.get(ESB_LOCK_REG, 1) & ESB_WDT_FUNC) !== 0
    if (this.#stage === 1) {
      this.#startStage(freeRunning ? 1 : 2)
      return
    }
    this.#timedOut = true
    if (this.config.get(ESB_CONFIG_REG, 2) & ESB_WDT_REBOOT) this.#startStage(1)
    else this.#onExpire()
  }
}
