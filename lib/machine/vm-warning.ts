/**
 * Something that went wrong, and that the machine goes on from.
 * - `device-needs-reset`: the guest's driver broke the rules of a device, which has stopped until the driver resets it
 */
export type VmWarning = {
  readonly kind: 'device-needs-reset'
  /** Which: `'block0'`, `'net1'`. */
  readonly device: string
  /** What the driver did, with the section of the virtio specification where it helps. */
  readonly reason: string
}
