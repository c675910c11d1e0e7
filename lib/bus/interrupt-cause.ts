import type { IrqLine } from '../interrupt/irq-line.js'

/** What follows from a cause's being pending, or else being idle. */
export interface CauseView {
  /** What the register that tells of it reads while it is idle: one byte. */
  readonly idle: number
  /** The same while it is pending. */
  readonly pending: number
  /** Whether the interrupt line is up while it is idle. */
  readonly idleLevel: boolean
  /** The same while it is pending. */
  readonly pendingLevel: boolean
  /** A read of the register while it is pending makes it idle. */
  readonly acknowledges: boolean
  /** Reads of the register do nothing besides, so that a vCPU's thread may serve them. */
  readonly shared: boolean
  /** The guest's write makes it pending. */
  readonly raises: boolean
}

/**
 * One cause of a device's interrupt, of the kind that lasts from a write of the guest's to a read of the register that
 * tells of it: a transmitter that can take the next character. The device says what follows from it, and then asks here
 * what the register reads; it may become pending, and be acknowledged, without the device.
 */
export interface InterruptCause {
  /** Setting it moves the line. */
  pending: boolean
  /** Once this returns, reads get what the view says and the line is where it says. */
  set(view: CauseView): void
  /** What a read of the register gives, with what that does to the cause. */
  read(): number
  /** To be called when the device handles the write that makes it pending. */
  written(): void
}

/** A cause before anything follows from it. */
export const NO_CAUSE: CauseView = {
  idle: 0,
  pending: 0,
  idleLevel: false,
  pendingLevel: false,
  acknowledges: false,
  shared: false,
  raises: false,
}

/** A cause that the device itself keeps, while no vCPU's thread can do it. */
export class OwnCause implements InterruptCause {
  readonly #irq: IrqLine
  readonly #latch: (value: number | undefined) => void
  #view = NO_CAUSE
  #pending = false
  #level = false

  /** @param latch takes what the register reads, `undefined` while that depends on the cause or a read does something */
  constructor(irq: IrqLine, latch: (value: number | undefined) => void) {
    this.#irq = irq
    this.#latch = latch
  }

  get pending(): boolean {
    return this.#pending
  }

  set pending(pending: boolean) {
    this.#pending = pending
    this.#move()
  }

  set(view: CauseView): void {
    this.#view = view
    // Before the line: another vCPU may be in its handler before `assert` returns, and one that reads there that nothing
    // is pending has lost its only edge.
    this.#latch(view.shared && view.idle === view.pending ? view.idle : undefined)
    this.#move()
  }

  read(): number {
    const value = this.#pending ? this.#view.pending : this.#view.idle
    if (this.#pending && this.#view.acknowledges) this.pending = false
    return value
  }

  written(): void {
    if (!this.#pending && this.#view.raises) this.pending = true
  }

  #move(): void {
    const level = this.#pending ? this.#view.pendingLevel : this.#view.idleLevel
    if (level === this.#level) return
    this.#level = level
    if (level) this.#irq.assert()
    else this.#irq.deassert()
  }
}
