import { guestAddress } from '../queue/guest-access.js'
import type { QueueGeometry } from '../queue/queue-geometry.js'

/** The three address registers of a queue, by the part of the queue that each points at. */
export type QueueArea = 'descriptorArea' | 'driverArea' | 'deviceArea'

/** One queue's registers, as the driver fills them in before DRIVER_OK. Checked as a whole only then. */
export class QueueSetup {
  readonly maxSize: number
  size: number
  #ready = false
  readonly #low: Record<QueueArea, number> = { descriptorArea: 0, driverArea: 0, deviceArea: 0 }
  readonly #high: Record<QueueArea, number> = { descriptorArea: 0, driverArea: 0, deviceArea: 0 }

  constructor(maxSize: number) {
    this.maxSize = maxSize
    this.size = maxSize
  }

  get ready(): boolean {
    return this.#ready
  }

  /** A queue of size 0 does not get ready. */
  setReady(ready: boolean): void {
    this.#ready = ready && this.size !== 0
  }

  setAddressLow(area: QueueArea, value: number): void {
    this.#low[area] = value
  }

  setAddressHigh(area: QueueArea, value: number): void {
    this.#high[area] = value
  }

  address(area: QueueArea): { low: number; high: number } {
    return { low: this.#low[area], high: this.#high[area] }
  }

  geometry(): QueueGeometry {
    const at = (area: QueueArea) => guestAddress(this.#low[area], this.#high[area])
    return {
      size: this.size,
      descriptorArea: at('descriptorArea'),
      driverArea: at('driverArea'),
      deviceArea: at('deviceArea'),
    }
  }

  reset(): void {
    this.size = this.maxSize
    this.#ready = false
    for (const area of ['descriptorArea', 'driverArea', 'deviceArea'] as const) {
      this.#low[area] = 0
      this.#high[area] = 0
    }
  }
}
