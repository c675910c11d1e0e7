import type { SignalEvent } from '../util/signal-event.js'

/**
 * One interrupt line, from a device's end.
 *
 * `assert`/`deassert` are for level semantics (the 16550A); `pulse` raises one edge (virtio).
 * After the machine is closed all three do nothing.
 */
export interface IrqLine {
  /** The global system interrupt that the line is wired to. */
  readonly gsi: number
  /** Raises it. Nothing happens to one that is raised. */
  assert(): void
  /** Lowers it. */
  deassert(): void
  /** Raises and lowers it: an edge. */
  pulse(): void
}

/**
 * One message-signalled interrupt, from a device's end: what the guest has written to the device's table says which
 * vCPU gets which vector. After the machine is closed no method does anything.
 */
export interface MsiLine {
  /** Raising it sends the message, from any thread and from the host's kernel. Absent: there is only `raise`. */
  readonly event?: SignalEvent
  /** From now on this message is sent: the address in two halves, and the data. Any values are safe. */
  route(addressLow: number, addressHigh: number, data: number): void
  /** Sends the message; nothing if there is none yet. */
  raise(): void
  /** Gives back what the host holds for it. */
  close(): void
}
