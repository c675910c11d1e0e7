import {
  UART_LSR_BI,
  UART_LSR_BRK_ERROR_BITS,
  UART_LSR_FE,
  UART_LSR_FIFOE,
  UART_LSR_OE,
  UART_LSR_PE,
} from './registers.js'

const DEPTH = 16
const CHARACTER_ERRORS = UART_LSR_BI | UART_LSR_FE | UART_LSR_PE
/** Bytes in the FIFO at which the received data interrupt comes, by FCR bits 7:6. */
const TRIGGER_LEVELS = [1, 4, 8, 14] as const
/** Marks a byte that came over the line, not by loopback; shares the flags with the LSR error bits, which it is none of. */
const FROM_LINE = 0x01

/** The receiver's FIFO and the LSR bits that follow from it (PC16550D, sections 8.4 and 8.10). */
export class ReceiveFifo {
  readonly #bytes = new Uint8Array(DEPTH)
  readonly #flags = new Uint8Array(DEPTH)
  #head = 0
  #count = 0
  #errors = 0
  #capacity = 1
  #trigger = 1

  get count(): number {
    return this.#count
  }

  get full(): boolean {
    return this.#count === this.#capacity
  }

  /** Sixteen bytes in FIFO mode, one in 16450 mode. */
  get capacity(): number {
    return this.#capacity
  }

  get reachedTrigger(): boolean {
    return this.#count >= (this.#capacity === 1 ? 1 : this.#trigger)
  }

  /** The error bits of LSR (1 to 4). */
  get errors(): number {
    return this.#errors
  }

  /** LSR bit 7, which only FIFO mode knows. */
  get fifoError(): number {
    if (this.#capacity === 1) return 0
    for (let i = 0; i < this.#count; i++) {
      if (this.#flags[(this.#head + i) % DEPTH]! & CHARACTER_ERRORS) return UART_LSR_FIFOE
    }
    return 0
  }

  /** Turning FIFO mode on or off empties the FIFO; the caller does that. */
  configure(fifoMode: boolean, triggerBits: number): void {
    this.#capacity = fifoMode ? DEPTH : 1
    this.#trigger = TRIGGER_LEVELS[triggerBits & 3]!
  }

  /** `errors` are the LSR bits of this character. A full FIFO keeps what it has and reports an overrun. */
  push(byte: number, errors: number, fromLine: boolean): void {
    if (this.full) {
      this.#errors |= UART_LSR_OE
      // Without the FIFO the new character destroys the one before (section 8.4, bit 1).
      if (this.#capacity > 1) return
      this.#count = 0
    }
    const slot = (this.#head + this.#count) % DEPTH
    this.#bytes[slot] = byte
    this.#flags[slot] = (errors & CHARACTER_ERRORS) | (fromLine ? FROM_LINE : 0)
    if (this.#count++ === 0) this.#errors |= errors & CHARACTER_ERRORS
  }

  /** The oldest byte, 0 if there is none. The errors of the one behind it show in LSR from now on. */
  shift(): number {
    if (this.#count === 0) return 0
    const byte = this.#bytes[this.#head]!
    this.#head = (this.#head + 1) % DEPTH
    if (--this.#count > 0) this.#errors |= this.#flags[this.#head]! & CHARACTER_ERRORS
    return byte
  }

  /** What a read of LSR does: the error bits, and the top character's flags, are gone after it. */
  clearErrors(): void {
    this.#errors &= ~UART_LSR_BRK_ERROR_BITS
    if (this.#count > 0) this.#flags[this.#head]! &= FROM_LINE
  }

  /** Empties the FIFO. Returns the intact bytes that had come over the line, oldest first. */
  clear(): number[] {
    const bytes: number[] = []
    for (let i = 0; i < this.#count; i++) {
      const slot = (this.#head + i) % DEPTH
      if (this.#flags[slot] === FROM_LINE) bytes.push(this.#bytes[slot]!)
    }
    this.#count = 0
    this.#head = 0
    return bytes
  }

  reset(): void {
    this.clear()
    this.#errors = 0
    this.configure(false, 0)
  }
}
