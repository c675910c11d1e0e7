import {
  hasFeature,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_RING_PACKED,
  VIRTQ_USED_F_NO_NOTIFY,
} from '../../lib/devices/virtio/abi.js'
import type { GuestMemory } from '../../lib/memory/guest-memory.js'
import { PackedDriverQueue } from './packed-driver.js'
import type { MmioDriver, Segment } from './virtio-driver.js'

export type RingLayout = 'split' | 'packed'

/** The guest's side of a queue, whichever its layout. */
export interface RingDriver {
  /** @param indirectTable where it may write a table of descriptors: a direct chain without */
  add(segments: readonly Segment[], indirectTable?: number): number
  used(): { id: number; length: number }[]
  /** Descriptors that can be added. */
  room(): number
  /** Used entries that it has read. */
  entriesRead(): number
  /** Whether the device asks for a kick for what was added since this was asked last. */
  wantsKick(): boolean
}

/** Initializes a device and its first queue, with what there is of `features`. */
export function startRing(
  { driver, memory }: { readonly driver: MmioDriver; readonly memory: GuestMemory },
  layout: RingLayout,
  size: number,
  features: readonly number[],
): RingDriver {
  if (layout === 'split') {
    driver.negotiate(features)
    const queue = driver.setUpQueue(0, size)
    driver.driverOk()
    let asked = 0
    return {
      wantsKick: () => {
        const old = asked
        asked = queue.availIdx
        if (!hasFeature(driver.features, VIRTIO_F_EVENT_IDX))
          return (queue.usedFlags & VIRTQ_USED_F_NO_NOTIFY) === 0
        return wasPassed(queue.availEvent, asked, old)
      },
      add: (segments, table) => (table ? queue.addIndirect(table, segments) : queue.add(segments)),
      used: () => queue.used(),
      room: () => queue.freeCount,
      entriesRead: () => queue.entriesRead,
    }
  }
  driver.negotiate([VIRTIO_F_RING_PACKED, ...features])
  const queue = new PackedDriverQueue(memory, driver.allocator, size)
  queue.inOrder = hasFeature(driver.features, VIRTIO_F_IN_ORDER)
  driver.placeQueue(0, size, queue.descriptorArea, queue.driverArea, queue.deviceArea)
  driver.driverOk()
  let asked = 0
  return {
    wantsKick: () => {
      const old = asked
      asked = queue.added
      return queue.wantsKick(old)
    },
    add: (segments, table) => queue.add(segments, table),
    used: () => queue.used(),
    room: () => queue.free,
    entriesRead: () => queue.entriesRead,
  }
}

/** Whether a ring that went from `old` to `now` went past `event` (2.7.10.1). */
function wasPassed(event: number, now: number, old: number): boolean {
  return ((now - event - 1) & 0xffff) < ((now - old) & 0xffff)
}
