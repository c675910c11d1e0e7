import type { VirtioDevice } from '../devices/virtio/virtio-device.js'
import type { MachineConfig } from './machine-config.js'
import type { Platform } from './platform.js'

/** What a virtio device's transport is given, of whatever kind it is. */
export function transportOptions(
  { memory, warn, fail }: Platform,
  { name }: VirtioDevice,
  { packedQueues: packed, inOrderQueues: inOrder }: MachineConfig,
) {
  return {
    ...{ memory, packed, inOrder },
    onNeedsReset: (reason: string) => warn({ kind: 'device-needs-reset', device: name, reason }),
    onError: fail,
  }
}
