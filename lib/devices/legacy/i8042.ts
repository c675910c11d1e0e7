import type { BusDevice } from '../../bus/bus-device.js'
import type { IrqLine } from '../../interrupt/irq-line.js'

/** Offsets from port 0x60: data, and status (read) or command (write). */
export const I8042_DATA = 0
export const I8042_COMMAND = 4
/** Ports from 0x60 on. Those between the two read as all ones here; 0x61 belongs to KVM's PIT, which answers before us. */
export const I8042_PORTS = 5

// Status register.
export const I8042_STR_OBF = 0x01
export const I8042_STR_SYSTEM_FLAG = 0x04
export const I8042_STR_CMD = 0x08
/** Set while the keyboard is *not* locked, whatever the name says. */
export const I8042_STR_KEYLOCK = 0x10
export const I8042_STR_AUXDATA = 0x20
export const I8042_STR_TIMEOUT = 0x40
export const I8042_STR_PARITY = 0x80

// Command byte ("CTR").
const CTR_KBDINT = 0x01
const CTR_SYSTEM_FLAG = 0x04
const CTR_KBDDIS = 0x10
const CTR_AUXDIS = 0x20

// Output port.
const OUTPUT_NOT_RESET = 0x01
const OUTPUT_A20 = 0x02
/** Clock and data lines high, A20 open, reset line high. */
const OUTPUT_AT_RESET = 0xc3

/** A keyboard or mouse that is not there times out; the controller then puts this in the output buffer. */
const NO_ANSWER = 0xfe
/** Interface test: the clock line is stuck low, which is how a driver learns that nothing is plugged in. */
const CLOCK_STUCK_LOW = 0x01
/** While there is no byte to tell of: by both at once OVMF knows that it need not wait seconds for a keyboard. */
const NOBODY_THERE = I8042_STR_TIMEOUT | I8042_STR_PARITY
const SELF_TEST_PASSED = 0x55
const KEYBOARD_NOT_INHIBITED = 0x80
const RAM_BYTES = 32

export interface I8042Options {
  name?: string
  /** Called once, until `reset()`, when the guest pulls the CPU's reset line. */
  onReset: () => void
  /** The keyboard's line (ISA 1), for a guest that enables it. */
  irq?: IrqLine
}

/**
 * The PC/AT keyboard controller with nothing plugged in: enough of it that a kernel finds a healthy controller, learns
 * at once that there is no keyboard and no mouse, and can reset the machine (command 0xFE, or the output port).
 *
 * Offsets are from port 0x60. Sources: the IBM PS/2 Hardware Interface Technical Reference, and what Linux's i8042
 * driver asks.
 */
export class I8042 implements BusDevice {
  readonly name: string
  readonly #onReset: () => void
  readonly #irq: IrqLine | undefined
  readonly #ram = new Uint8Array(RAM_BYTES)
  #outputPort = OUTPUT_AT_RESET
  /** The one byte of the output buffer, -1 when empty. */
  #output = -1
  #outputStatus = 0
  #lastWasCommand = 0
  /** The command whose data byte is due. */
  #awaiting = -1
  #fired = false

  constructor(options: I8042Options) {
    this.name = options.name ?? 'i8042'
    this.#onReset = options.onReset
    this.#irq = options.irq
    this.reset()
  }

  /** Whether address line 20 is let through, for the record: KVM never masks it. */
  get a20(): boolean {
    return (this.#outputPort & OUTPUT_A20) !== 0
  }

  /** Its state after power-on. */
  reset(): void {
    this.#ram.fill(0)
    this.#ram[0] = CTR_SYSTEM_FLAG | CTR_KBDDIS | CTR_AUXDIS
    this.#outputPort = OUTPUT_AT_RESET
    this.#output = -1
    this.#outputStatus = 0
    this.#lastWasCommand = 0
    this.#awaiting = -1
    this.#fired = false
    this.#irq?.deassert()
  }

  read(offset: number, width: 1 | 2 | 4): number {
    if (width !== 1) return 2 ** (8 * width) - 1
    if (offset === I8042_DATA) return this.#readData()
    if (offset === I8042_COMMAND) return this.#status()
    return 0xff
  }

  write(offset: number, width: 1 | 2 | 4, value: number): void {
    if (width !== 1) return
    const byte = value & 0xff
    if (offset === I8042_COMMAND) {
      this.#lastWasCommand = I8042_STR_CMD
      this.#awaiting = -1
      this.#command(byte)
    } else if (offset === I8042_DATA) {
      this.#lastWasCommand = 0
      this.#data(byte)
    }
  }

  #status(): number {
    const output = this.#output < 0 ? NOBODY_THERE : I8042_STR_OBF | this.#outputStatus
    return (
      output |
      (this.#ram[0]! & CTR_SYSTEM_FLAG ? I8042_STR_SYSTEM_FLAG : 0) |
      this.#lastWasCommand |
      I8042_STR_KEYLOCK
    )
  }

  #readData(): number {
    const byte = this.#output
    this.#output = -1
    this.#irq?.deassert()
    return Math.max(byte, 0)
  }

  #answer(byte: number, status = 0): void {
    this.#output = byte
    this.#outputStatus = status
  }

  #command(command: number): void {
    if (command >= 0xf0) {
      // Pulses output port bits 3 to 0, those that are 0 in the command.
      if ((command & OUTPUT_NOT_RESET) === 0) this.#pullReset()
    } else if (command >= 0x20 && command < 0x40) {
      this.#answer(this.#ram[command & 0x1f]!)
    } else if (command >= 0x60 && command < 0x80) {
      this.#awaiting = command
    } else {
      this.#namedCommand(command)
    }
  }

  #namedCommand(command: number): void {
    switch (command) {
      case 0xa7: // Disable the auxiliary device.
        this.#ram[0]! |= CTR_AUXDIS
        break
      case 0xa8:
        this.#ram[0]! &= ~CTR_AUXDIS
        break
      case 0xa9: // Test the auxiliary interface.
      case 0xab: // Test the keyboard interface.
        this.#answer(CLOCK_STUCK_LOW)
        break
      case 0xaa: // Self-test.
        this.#ram[0]! |= CTR_SYSTEM_FLAG
        this.#answer(SELF_TEST_PASSED)
        break
      case 0xad:
        this.#ram[0]! |= CTR_KBDDIS
        break
      case 0xae:
        this.#ram[0]! &= ~CTR_KBDDIS
        break
      case 0xc0: // Read input port.
        this.#answer(KEYBOARD_NOT_INHIBITED)
        break
      case 0xd0: // Read output port.
        this.#answer(this.#outputPort)
        break
      case 0xd1: // Write output port.
      case 0xd2: // Write keyboard output buffer.
      case 0xd3: // Write auxiliary output buffer.
      case 0xd4: // Write to the auxiliary device.
        this.#awaiting = command
        break
      case 0xdd:
        this.#outputPort &= ~OUTPUT_A20
        break
      case 0xdf:
        this.#outputPort |= OUTPUT_A20
        break
      case 0xe0: // Read test inputs: both clock lines low.
        this.#answer(0)
        break
    }
  }

  #data(byte: number): void {
    const command = this.#awaiting
    this.#awaiting = -1
    if (command >= 0x60 && command < 0x80) {
      this.#ram[command & 0x1f] = byte
    } else if (command === 0xd1) {
      this.#outputPort = byte
      if ((byte & OUTPUT_NOT_RESET) === 0) this.#pullReset()
    } else if (command === 0xd2) {
      this.#answer(byte)
      this.#interrupt()
    } else if (command === 0xd3) {
      // Looped back unmarked: a controller without an auxiliary port.
      this.#answer(byte)
    } else if (command === 0xd4) {
      this.#answer(NO_ANSWER, I8042_STR_AUXDATA | I8042_STR_TIMEOUT)
    } else {
      this.#answer(NO_ANSWER, I8042_STR_TIMEOUT)
      this.#interrupt()
    }
  }

  #interrupt(): void {
    if (this.#ram[0]! & CTR_KBDINT) this.#irq?.assert()
  }

  #pullReset(): void {
    this.#outputPort |= OUTPUT_NOT_RESET
    if (this.#fired) return
    this.#fired = true
    this.#onReset()
  }
}
