/**
 * One interrupt line, from a device's end.
 *
 * `assert`/`deassert` are for level semantics (the 16550A); `pulse` raises one edge (virtio).
 * After the machine is closed all three do nothing.
 */
export interface IrqLine {
  /** The global system interrupt that the line is wired to. */
  readonly gsi: number
  assert(): void
  deassert(): void
  pulse(): void
}
