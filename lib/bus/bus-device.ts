import type { IrqLine } from '../interrupt/irq-line.js'
import type { InterruptCause } from './interrupt-cause.js'

/**
 * What answers a range of ports or of guest-physical addresses.
 * A device is told the offset in its range, never the address; the bus never passes an access that crosses the range's end.
 *
 * Reads return an unsigned integer of `width` bytes (excess bits are cut off by the bus). What a device does not
 * implement reads as all ones and ignores writes. Accesses of 8 bytes go to `read64`/`write64`; a device without
 * them reads as all ones and ignores the write, as a PC bus with nobody at home.
 *
 * A method that throws stops that virtual machine with `ERR_DEVICE`.
 */
export interface BusDevice {
  /** For logs, statistics and errors: `'uart0'`. */
  readonly name: string
  /** A guest's read. @returns an unsigned integer of `width` bytes */
  read(offset: number, width: 1 | 2 | 4): number
  /** A guest's write of an unsigned integer of `width` bytes. */
  write(offset: number, width: 1 | 2 | 4, value: number): void
  /** A guest's read of 8 bytes. */
  read64?(offset: number): bigint
  /** A guest's write of 8 bytes. */
  write64?(offset: number, value: bigint): void
  /** Accesses that need no synchronous exit. Read once, when the device is put on a bus. */
  readonly shortcuts?: Shortcuts
}

/**
 * How a device spares the guest a wait: both kinds are served by the vCPU's own thread, with no JavaScript in between.
 * So a latched read may overtake a posted write: latch what no posted write to the device changes, but for the
 * `settling` ones.
 */
export interface Shortcuts {
  /** Byte-wide registers whose reads have no side effect while the latch holds a value. */
  readonly latched?: readonly number[]
  /** The same for registers of 4 bytes, read by accesses of 4 bytes. An offset is in one of the lists at most. */
  readonly latched32?: readonly number[]
  /**
   * Registers whose writes the guest need not wait for. They reach `write()` later, in program order, and before
   * the same vCPU's next synchronous exit.
   */
  readonly posted?: readonly number[]
  /**
   * Of the posted ones those of one byte that may be collected without an exit: a driver writes many of them in a row,
   * and reads a register of any device after the last one. A write that no exit of any kind follows takes up to 100 ms.
   */
  readonly coalesced?: readonly number[]
  /**
   * Of the posted ones those whose writes change what latched registers read, or should not wait to be handled. They are
   * handled as soon as possible, and from such a write until then the device's latches answer nobody.
   */
  readonly settling?: readonly number[]
  /** Of a device on the MMIO bus. */
  readonly status?: StatusRegister
  /** Of PCI's configuration ports. */
  readonly selected?: SelectedRegisters
  /** A cause of its interrupt that vCPUs' threads may keep. */
  readonly cause?: CauseRegisters
  /** Receives the latch of each offset in `latched` and `latched32` before the guest first runs. */
  latch?(offset: number, latch: Latch): void
}

/**
 * A register of bits that the device sets and the driver clears: an interrupt status and its acknowledgement. The vCPU's
 * thread serves both, and a clearing write is in force before the guest's next instruction. Offsets are in no other list.
 */
export interface StatusRegister {
  /** The offset at which reads of 4 bytes get `bits`. */
  readonly read: number
  /** The offset at which writes of 4 bytes clear the bits that are set in what is written. */
  readonly clear: number
  /** One element over a SharedArrayBuffer; to be accessed by Atomics only. */
  readonly bits: Uint32Array
}

/**
 * Registers of which a posted write of 4 bytes selects one for reads: PCI's configuration mechanism #1. They lie in memory,
 * which also says which of them the vCPUs' threads may read; the others go to the device.
 */
export interface SelectedRegisters {
  /** The offset of CONFIG_ADDRESS, which is among `posted`. */
  readonly address: number
  /** The offset of CONFIG_DATA, whose reads are of 1, 2 or 4 bytes within 4. */
  readonly data: number
  /** 2113 elements over a SharedArrayBuffer. */
  readonly memory: Uint32Array
}

/**
 * Where an {@link InterruptCause} comes from and where it is told of. If the line can be moved by a vCPU's thread, that
 * keeps the cause: the guest, as it writes and reads on, never waits for JavaScript.
 */
export interface CauseRegisters {
  /** Among `posted`: writes of one byte make it pending. */
  readonly written: number
  /** Among `latched`: reads tell of it. The latch is not handed out where the cause is. */
  readonly told: number
  /** The line that follows from it, and that nobody else moves. */
  readonly irq: IrqLine
  /** Receives the cause before the guest first runs, and `undefined` when it is the device's own again. */
  attach(cause: InterruptCause | undefined): void
}

/** The value that reads of one register get. */
export interface Latch {
  /**
   * Answers reads with `value` (one byte; 4 for `latched32`), or, if `undefined`, sends them to the device's `read()`
   * again. Does nothing once the device has left the bus.
   */
  set(value: number | undefined): void
}
