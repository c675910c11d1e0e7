import {
  VIRTIO_CONFIG_S_ACKNOWLEDGE,
  VIRTIO_CONFIG_S_DRIVER,
  VIRTIO_CONFIG_S_DRIVER_OK,
  VIRTIO_CONFIG_S_FAILED,
  VIRTIO_CONFIG_S_FEATURES_OK,
  VIRTIO_CONFIG_S_NEEDS_RESET,
} from '../abi.js'

/** What a driver's write of the device status asks for. `ignore`: it is no legal step from where the device is. */
export type StatusStep =
  | 'ignore'
  | 'reset'
  | 'acknowledge'
  | 'driver'
  | 'features-ok'
  | 'driver-ok'
  | 'failed'

const ACKNOWLEDGED_DRIVER = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER

/** Initialization goes one bit at a time (virtio 1.2, 3.1.1): which bit comes next, by the bits already set. */
const nextSteps: ReadonlyMap<number, readonly [bit: number, step: StatusStep]> = new Map([
  [0, [VIRTIO_CONFIG_S_ACKNOWLEDGE, 'acknowledge']],
  [VIRTIO_CONFIG_S_ACKNOWLEDGE, [VIRTIO_CONFIG_S_DRIVER, 'driver']],
  [ACKNOWLEDGED_DRIVER, [VIRTIO_CONFIG_S_FEATURES_OK, 'features-ok']],
  [ACKNOWLEDGED_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK, [VIRTIO_CONFIG_S_DRIVER_OK, 'driver-ok']],
])

/**
 * Virtio 1.2, 2.1.1: the driver may set bits in order, may not clear any, and writes 0 to reset.
 * DEVICE_NEEDS_RESET is ours: the driver may leave it out or write it back.
 */
export function statusStep(status: number, written: number): StatusStep {
  if (written === 0) return 'reset'
  const mine = status & ~VIRTIO_CONFIG_S_NEEDS_RESET
  if ((written & mine) !== mine) return 'ignore'
  const added = written & ~status
  if (added === VIRTIO_CONFIG_S_FAILED) return 'failed'
  // The first two steps ask for nothing, and SeaBIOS takes them by one write.
  if (status === 0 && added === ACKNOWLEDGED_DRIVER) return 'driver'
  const next = nextSteps.get(status) // none once it has failed or needs a reset
  return next !== undefined && added === next[0] ? next[1] : 'ignore'
}
