import type { GuestMemory } from '../../../memory/guest-memory.js'
import type { DeviceControlEvents, DeviceControlOptions } from './device-control.js'

/** What a virtio device of any transport is given. */
export interface TransportOptions extends DeviceControlOptions {
  /** The guest's. */
  readonly memory: GuestMemory
  /** The device stopped for what the driver did (DEVICE_NEEDS_RESET). At most once between two resets. */
  readonly onNeedsReset?: (reason: string) => void
  /** The device model itself failed. */
  readonly onError?: (error: Error) => void
}

/** What a device's control tells of the device, to whoever made its transport. */
export function failureEvents({
  onNeedsReset,
  onError,
}: TransportOptions): Pick<DeviceControlEvents, 'needsReset' | 'failed'> {
  return {
    ...(onNeedsReset && { needsReset: onNeedsReset }),
    ...(onError && { failed: onError }),
  }
}

/** What a driver tried that the registers do not allow, and how often interrupts were raised. */
export interface TransportCounters {
  /** Reads of what is no register, or of the wrong width. */
  ignoredReads: number
  /** Such writes. */
  ignoredWrites: number
  /** Interrupts raised. */
  interrupts: number
  /** Times that the driver told of chains, as far as they did not meet. */
  kicks: number
}
