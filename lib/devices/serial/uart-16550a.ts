import type { CharSink, CharSource } from '../../backends/char/char-backend.js'
import type { BusDevice, Shortcuts } from '../../bus/bus-device.js'
import { type InterruptCause, NO_CAUSE, OwnCause } from '../../bus/interrupt-cause.js'
import type { IrqLine } from '../../interrupt/irq-line.js'
import { ModemLines } from './modem-lines.js'
import { ReceiveFifo } from './receive-fifo.js'
import { RegisterLatches } from './register-latches.js'
import * as reg from './registers.js'

export interface Uart16550AOptions {
  /** `'uart0'` unless told. */
  name?: string
  irq: IrqLine
  output: CharSink
  input?: CharSource
}

/** Crystal of a PC's serial port, Hz; the divisor counts sixteenths of it. */
const CLOCK = 1_843_200
const RESET_DIVISOR = 12

/**
 * A 16550A UART on an infinitely fast line: a byte is sent the moment it is written, so THRE and TEMT are always set,
 * and a receive timeout is due as soon as bytes below the trigger level wait.
 *
 * Register semantics are those of the PC16550D datasheet, section 8, with these liberties: word length and parity do
 * not alter data, the divisor does not pace it, and OUT2 does not gate the interrupt (guests that never raise it exist).
 *
 * Input obeys RTS as a peer with hardware flow control does: bytes are held back while a driver that has taken charge of
 * the modem lines keeps RTS low. What a FIFO reset finds in the FIFO while RTS is low counts as not yet sent and comes
 * again; so what is typed while a kernel still probes the port is not lost.
 */
export class Uart16550A implements BusDevice {
  readonly name: string
  readonly shortcuts: Shortcuts
  readonly #output: CharSink
  readonly #input: CharSource | undefined
  readonly #fifo = new ReceiveFifo()
  readonly #modem = new ModemLines()
  readonly #latches = new RegisterLatches(reg.UART_PORTS)
  #ier = 0
  #fcr = 0
  #lcr = 0
  #scr = 0
  #divisor = RESET_DIVISOR
  /** THR has become empty: it was written, or the interrupt for it enabled. */
  #thrEmpty: InterruptCause
  /** Bytes that a FIFO reset gave back; at most one FIFO's worth, as they go first. */
  #held: number[] = []
  #refillScheduled = false

  constructor(options: Uart16550AOptions) {
    this.name = options.name ?? 'uart0'
    const own = new OwnCause(options.irq, (value) => this.#latches.set(reg.UART_IIR, value))
    this.#thrEmpty = own
    this.#output = options.output
    this.#input = options.input
    this.shortcuts = {
      posted: [reg.UART_THR, reg.UART_IER],
      coalesced: [reg.UART_THR],
      settling: [reg.UART_IER],
      latched: [
        reg.UART_IER,
        reg.UART_IIR,
        reg.UART_LCR,
        reg.UART_MCR,
        reg.UART_LSR,
        reg.UART_MSR,
        reg.UART_SCR,
      ],
      latch: (offset, latch) => {
        this.#latches.attach(offset, latch)
        this.#update()
      },
      cause: {
        written: reg.UART_THR,
        told: reg.UART_IIR,
        irq: options.irq,
        attach: (cause = own) => this.#keepBy(cause),
      },
    }
    this.#update()
    this.#input?.onReadable(() => this.#fill())
  }

  /** Bits per second that the divisor latch asks for; a divisor of 0 counts as the one after reset (9600). */
  get baudRate(): number {
    return CLOCK / 16 / (this.#divisor || RESET_DIVISOR)
  }

  /** The guest sees a break: Linux takes one followed by a letter within 5 s for a SysRq. */
  receiveBreak(): void {
    if (this.#modem.loopback) return
    this.#fifo.push(0, reg.UART_LSR_BI, true)
    this.#update()
  }

  /** Master reset. Input that waits in the backend stays. */
  reset(): void {
    this.#fifo.reset()
    this.#modem.reset()
    this.#ier = this.#fcr = this.#lcr = this.#scr = 0
    this.#divisor = RESET_DIVISOR
    this.#thrEmpty.pending = false
    this.#held = []
    this.#fill()
    this.#update()
  }

  read(offset: number, width: 1 | 2 | 4): number {
    if (width !== 1) return 2 ** (8 * width) - 1
    switch (offset) {
      case reg.UART_RBR:
        return this.#dlab ? this.#divisor & 0xff : this.#readRbr()
      case reg.UART_IER:
        return this.#readIer()
      case reg.UART_IIR:
        return this.#thrEmpty.read()
      case reg.UART_LCR:
        return this.#lcr
      case reg.UART_MCR:
        return this.#modem.mcr
      case reg.UART_LSR: {
        const lsr = this.#lsr()
        if (lsr & reg.UART_LSR_BRK_ERROR_BITS) {
          this.#fifo.clearErrors()
          this.#update()
        }
        return lsr
      }
      case reg.UART_MSR: {
        const { msr } = this.#modem
        if (this.#modem.deltas !== 0) {
          this.#modem.clearDeltas()
          this.#update()
        }
        return msr
      }
      case reg.UART_SCR:
        return this.#scr
      default:
        return 0xff
    }
  }

  write(offset: number, width: 1 | 2 | 4, value: number): void {
    if (width !== 1) return
    const byte = value & 0xff
    switch (offset) {
      case reg.UART_THR:
        if (this.#dlab) this.#divisor = (this.#divisor & 0xff00) | byte
        else this.#transmit(byte)
        return
      case reg.UART_IER:
        if (this.#dlab) this.#divisor = (this.#divisor & 0x00ff) | (byte << 8)
        else this.#writeIer(byte)
        break
      case reg.UART_FCR:
        this.#writeFcr(byte)
        break
      case reg.UART_LCR:
        this.#writeLcr(byte)
        break
      case reg.UART_MCR:
        this.#modem.mcr = byte
        this.#fill()
        break
      case reg.UART_SCR:
        this.#scr = byte
        break
      // LSR is for factory testing and MSR is read-only in effect: both ignore writes.
    }
    this.#update()
  }

  get #dlab(): boolean {
    return (this.#lcr & reg.UART_LCR_DLAB) !== 0
  }

  /** The console's hot path. */
  #transmit(byte: number): void {
    this.#thrEmpty.written()
    if (this.#modem.loopback) {
      this.#fifo.push(byte, 0, false)
      this.#update()
    } else {
      this.#output.put(byte)
    }
  }

  #readRbr(): number {
    if (this.#fifo.count === 0) return 0
    const byte = this.#fifo.shift()
    if (this.#fifo.count === 0) this.#refillSoon()
    this.#update()
    return byte
  }

  #readIer(): number {
    return this.#dlab ? this.#divisor >> 8 : this.#ier
  }

  #writeIer(byte: number): void {
    const ier = byte & reg.UART_IER_ALL_INTR
    // Enabling the interrupt while THR is empty raises it (section 8.6); Linux probes for UARTs that fail to.
    if (ier & ~this.#ier & reg.UART_IER_THRI) this.#thrEmpty.pending = true
    this.#ier = ier
    this.#fill()
  }

  #writeFcr(byte: number): void {
    const toggled = (byte ^ this.#fcr) & reg.UART_FCR_ENABLE_FIFO
    const clear = toggled | (byte & reg.UART_FCR_ENABLE_FIFO && byte & reg.UART_FCR_CLEAR_RCVR)
    if (clear) {
      const bytes = this.#fifo.clear()
      if (!this.#modem.rts) this.#held = [...bytes, ...this.#held]
    }
    // The other bits do not program while bit 0 is 0 (section 8.5).
    this.#fcr = byte & reg.UART_FCR_ENABLE_FIFO ? byte & 0xc9 : 0
    this.#fifo.configure(this.#fcr !== 0, this.#fcr >> 6)
    this.#fill()
  }

  #writeLcr(byte: number): void {
    if (this.#modem.loopback && byte & ~this.#lcr & reg.UART_LCR_SBC)
      this.#fifo.push(0, reg.UART_LSR_BI, false)
    this.#lcr = byte
  }

  #lsr(): number {
    const ready = this.#fifo.count > 0 ? reg.UART_LSR_DR : 0
    return reg.UART_LSR_THRE | reg.UART_LSR_TEMT | ready | this.#fifo.errors | this.#fifo.fifoError
  }

  /** The pending interrupt of the highest priority (section 8.6.1, table III). */
  #interrupt(thrEmpty: boolean): number {
    const ier = this.#ier
    if (ier & reg.UART_IER_RLSI && this.#fifo.errors) return reg.UART_IIR_RLSI
    if (ier & reg.UART_IER_RDI && this.#fifo.count > 0) {
      return this.#fifo.reachedTrigger ? reg.UART_IIR_RDI : reg.UART_IIR_RX_TIMEOUT
    }
    if (ier & reg.UART_IER_THRI && thrEmpty) return reg.UART_IIR_THRI
    if (ier & reg.UART_IER_MSI && this.#modem.deltas) return reg.UART_IIR_MSI
    return reg.UART_IIR_NO_INT
  }

  /** Takes what the peer may send and the FIFO has room for. */
  #fill(): void {
    const wanted = (this.#ier & reg.UART_IER_RDI) !== 0
    if (!this.#modem.mayReceive(wanted) || this.#fifo.full) return
    while (!this.#fifo.full) {
      const byte = this.#held.shift() ?? this.#input?.take() ?? -1
      if (byte < 0) break
      this.#fifo.push(byte, 0, true)
    }
    this.#update()
  }

  /**
   * The burst after one that was read comes a turn of the event loop later, so a flood cannot keep a guest inside its
   * interrupt handler.
   */
  #refillSoon(): void {
    if (!this.#input || this.#refillScheduled) return
    this.#refillScheduled = true
    setImmediate(() => {
      this.#refillScheduled = false
      this.#fill()
    })
  }

  #keepBy(cause: InterruptCause): void {
    const { pending } = this.#thrEmpty
    this.#thrEmpty.set(NO_CAUSE)
    this.#thrEmpty = cause
    cause.pending = pending
    this.#update()
  }

  /** Brings the latches up to date, and then IIR and the interrupt line, which the guest goes by. */
  #update(): void {
    // Latched only while the read has no side effect and no posted write could change the value.
    const lsr = this.#lsr()
    const { loopback, mcr, msr, deltas } = this.#modem
    const lsrChanges = loopback || (lsr & reg.UART_LSR_BRK_ERROR_BITS) !== 0
    this.#latches.set(reg.UART_LSR, lsrChanges ? undefined : lsr)
    this.#latches.set(reg.UART_MSR, deltas ? undefined : msr)
    this.#latches.set(reg.UART_IER, this.#readIer())
    this.#latches.set(reg.UART_LCR, this.#lcr)
    this.#latches.set(reg.UART_MCR, mcr)
    this.#latches.set(reg.UART_SCR, this.#scr)
    const fifos = this.#fcr !== 0 ? reg.UART_IIR_FIFO_ENABLED_16550A : 0
    const idle = this.#interrupt(false)
    const pending = this.#interrupt(true)
    this.#thrEmpty.set({
      idle: idle | fifos,
      pending: pending | fifos,
      idleLevel: idle !== reg.UART_IIR_NO_INT,
      pendingLevel: pending !== reg.UART_IIR_NO_INT,
      acknowledges: pending === reg.UART_IIR_THRI,
      shared: !loopback,
      raises: !this.#dlab,
    })
  }
}
