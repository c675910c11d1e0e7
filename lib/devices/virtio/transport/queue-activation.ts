import type { GuestMemory } from '../../../memory/guest-memory.js'
import {
  type FeatureBits,
  hasFeature,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
} from '../abi.js'
import type { GuestAccess } from '../queue/guest-access.js'
import { PackedVirtqueue } from '../queue/packed-virtqueue.js'
import {
  brokenGeometryRule,
  packedLayout,
  queuesOverlap,
  splitLayout,
} from '../queue/queue-geometry.js'
import { SplitVirtqueue } from '../queue/split-virtqueue.js'
import type { Virtqueue, VirtqueueEvents } from '../queue/virtqueue.js'
import type { QueueSetup } from './queue-setup.js'

/** Which rule the queues as the driver has set them up break, or `undefined` if they can be used. */
export function brokenQueueRule(
  setups: readonly QueueSetup[],
  features: FeatureBits,
  memory: GuestMemory,
): string | undefined {
  const layout = hasFeature(features, VIRTIO_F_RING_PACKED) ? packedLayout : splitLayout
  const ready = setups.filter((setup) => setup.ready)
  if (ready.length === 0) return '3.1.1: DRIVER_OK with no queue set up'
  for (const setup of ready) {
    const rule = brokenGeometryRule(setup.geometry(), layout, setup.maxSize, memory)
    if (rule !== undefined) return `2.7: ${rule}`
  }
  const geometries = ready.map((setup) => setup.geometry())
  return queuesOverlap(geometries, layout) ? '2.7: the parts of the queues overlap' : undefined
}

/** A queue as the driver has set it up, its geometry frozen; `undefined` if it has set up none. */
export function activateQueue(
  index: number,
  setup: QueueSetup,
  features: FeatureBits,
  access: GuestAccess,
  events: VirtqueueEvents,
): Virtqueue | undefined {
  if (!setup.ready) return undefined
  const Ring = hasFeature(features, VIRTIO_F_RING_PACKED) ? PackedVirtqueue : SplitVirtqueue
  const ring = {
    indirect: hasFeature(features, VIRTIO_F_INDIRECT_DESC),
    eventIdx: hasFeature(features, VIRTIO_F_EVENT_IDX),
    inOrder: hasFeature(features, VIRTIO_F_IN_ORDER),
    chainCountMax: setup.maxSize,
  }
  return new Ring(index, setup.geometry(), access, ring, events)
}
