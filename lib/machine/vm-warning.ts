/**
 * Something that went wrong, and that the machine goes on from.
 * - `device-needs-reset`: the guest's driver broke the rules of a device, which has stopped until the driver resets it
 * - `link-lost`: a network card has lost what it is plugged into (its TAP was deleted or set down, passt ended, a stream
 *   closed); the guest sees its cable pulled until the backend has it again
 * - `guest-panicked`: the guest's kernel has told the device `pvpanic` that it has panicked
 */
export type VmWarning =
  | {
      readonly kind: 'device-needs-reset'
      /** Which: `'block0'`, `'net1'`. */
      readonly device: string
      /** What the driver did, with the section of the virtio specification where it helps. */
      readonly reason: string
    }
  | {
      readonly kind: 'link-lost'
      /** Which: `'net0'`. */
      readonly device: string
      /** What its backend is called: `'tap0'`. */
      readonly backend: string
    }
  | {
      readonly kind: 'guest-panicked'
      /** Its crash kernel takes over. */
      readonly crashLoaded: boolean
    }

/** A warning in a few words, for people. */
export function describeWarning(warning: VmWarning): string {
  switch (warning.kind) {
    case 'device-needs-reset':
      return `${warning.device} waits for a reset by its driver: ${warning.reason}`
    case 'link-lost':
      return `${warning.device} has lost ${warning.backend}; the guest sees its cable pulled`
    case 'guest-panicked':
      return `the guest's kernel panicked${warning.crashLoaded ? ', and starts its crash kernel' : ''}`
  }
}
