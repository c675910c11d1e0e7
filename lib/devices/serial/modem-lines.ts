import {
  UART_MCR_DTR,
  UART_MCR_LOOP,
  UART_MCR_OUT1,
  UART_MCR_OUT2,
  UART_MCR_RTS,
  UART_MSR_CTS,
  UART_MSR_DCD,
  UART_MSR_DCTS,
  UART_MSR_DDCD,
  UART_MSR_DDSR,
  UART_MSR_DSR,
  UART_MSR_RI,
  UART_MSR_TERI,
} from './registers.js'

const MCR_BITS = 0x1f
/** The peer is always there: carrier, data set ready, clear to send. */
const PEER_LINES = UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS

/** MCR and MSR: the modem control lines and their loopback (PC16550D, sections 8.7 and 8.8). */
export class ModemLines {
  #mcr = 0
  #deltas = 0
  #controlled = false
  #rtsSeen = false

  get mcr(): number {
    return this.#mcr
  }

  set mcr(value: number) {
    const before = this.#inputs()
    this.#mcr = value & MCR_BITS
    const after = this.#inputs()
    this.#deltas |= ((before ^ after) >> 4) & (UART_MSR_DCTS | UART_MSR_DDSR | UART_MSR_DDCD)
    // The ring indicator reports its trailing edge only.
    if (before & ~after & UART_MSR_RI) this.#deltas |= UART_MSR_TERI
    this.#controlled = true
    if (this.rts && !this.loopback) this.#rtsSeen = true
  }

  get msr(): number {
    return this.#inputs() | this.#deltas
  }

  /** What has changed since MSR was last read: its low four bits. */
  get deltas(): number {
    return this.#deltas
  }

  clearDeltas(): void {
    this.#deltas = 0
  }

  get loopback(): boolean {
    return (this.#mcr & UART_MCR_LOOP) !== 0
  }

  get rts(): boolean {
    return (this.#mcr & UART_MCR_RTS) !== 0
  }

  /**
   * Whether a peer that looks at RTS may send. It may until a driver writes MCR, and also to one that never raised RTS
   * but wants the interrupt.
   */
  mayReceive(interruptWanted: boolean): boolean {
    if (this.loopback) return false
    return this.rts || !this.#controlled || (interruptWanted && !this.#rtsSeen)
  }

  reset(): void {
    this.#mcr = 0
    this.#deltas = 0
    this.#controlled = false
    this.#rtsSeen = false
  }

  /** Loopback connects the four outputs to the four inputs. */
  #inputs(): number {
    if (!this.loopback) return PEER_LINES
    return (
      (this.#mcr & UART_MCR_RTS ? UART_MSR_CTS : 0) |
      (this.#mcr & UART_MCR_DTR ? UART_MSR_DSR : 0) |
      (this.#mcr & UART_MCR_OUT1 ? UART_MSR_RI : 0) |
      (this.#mcr & UART_MCR_OUT2 ? UART_MSR_DCD : 0)
    )
  }
}
