import type { GuestMemory } from '../../../memory/guest-memory.js'

/** Where the driver put one queue. Addresses are guest-physical; {@link NO_ADDRESS} for what no queue can have. */
export interface QueueGeometry {
  /** Entries. */
  readonly size: number
  /** Descriptor table (split), descriptor ring (packed). */
  readonly descriptorArea: number
  /** Available ring (split), driver event suppression (packed). */
  readonly driverArea: number
  /** Used ring (split), device event suppression (packed). */
  readonly deviceArea: number
}

/** Bytes and alignment of each part of a queue (virtio 1.2, 2.7 and 2.8). */
export interface QueueLayout {
  readonly powerOfTwo: boolean
  descriptorArea(size: number): AreaLayout
  driverArea(size: number): AreaLayout
  deviceArea(size: number): AreaLayout
}

export interface AreaLayout {
  readonly bytes: number
  readonly alignment: number
}

/** 2.7: the event fields at the rings' ends count whether or not EVENT_IDX is in force. */
export const splitLayout: QueueLayout = {
  powerOfTwo: true,
  descriptorArea: (size) => ({ bytes: 16 * size, alignment: 16 }),
  driverArea: (size) => ({ bytes: 6 + 2 * size, alignment: 2 }),
  deviceArea: (size) => ({ bytes: 6 + 8 * size, alignment: 4 }),
}

/** 2.8: one ring, and an event suppression structure each way. */
export const packedLayout: QueueLayout = {
  powerOfTwo: false,
  descriptorArea: (size) => ({ bytes: 16 * size, alignment: 16 }),
  driverArea: () => ({ bytes: 4, alignment: 4 }),
  deviceArea: () => ({ bytes: 4, alignment: 4 }),
}

const QUEUE_AREAS = ['descriptorArea', 'driverArea', 'deviceArea'] as const

/**
 * Which rule a queue's geometry breaks, or `undefined` if it can be used: the one check, made when the driver
 * sets DRIVER_OK, after which the geometry is frozen.
 */
export function brokenGeometryRule(
  geometry: QueueGeometry,
  layout: QueueLayout,
  maxSize: number,
  memory: GuestMemory,
): string | undefined {
  const { size } = geometry
  if (size < 1 || size > maxSize) return `a queue size of ${size}, not from 1 to ${maxSize}`
  if (layout.powerOfTwo && (size & (size - 1)) !== 0)
    return `a queue size of ${size}, no power of two`
  for (const area of QUEUE_AREAS) {
    const { bytes, alignment } = layout[area](size)
    const address = geometry[area]
    if (address % alignment !== 0)
      return `${area} at ${hex(address)}, not aligned to ${alignment} bytes`
    if (memory.findRegion(address, bytes) === undefined)
      return `${area} at ${hex(address)}, +${hex(bytes)}, not in guest memory`
  }
  return undefined
}

/**
 * Whether what the device writes in one of these queues lies over any part of a queue. Such a ring could feed itself
 * for ever with no doing of the guest's.
 */
export function queuesOverlap(geometries: readonly QueueGeometry[], layout: QueueLayout): boolean {
  const spans = geometries.flatMap((geometry) =>
    QUEUE_AREAS.map((area) => {
      const start = geometry[area]
      return {
        start,
        end: start + layout[area](geometry.size).bytes,
        written: area === 'deviceArea',
      }
    }),
  )
  return spans.some(
    (a) => a.written && spans.some((b) => a !== b && a.start < b.end && b.start < a.end),
  )
}

function hex(value: number): string {
  return `0x${value.toString(16)}`
}
