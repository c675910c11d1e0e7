import { guestAddress } from '../queue/guest-access.js'
import type { QueueGeometry } from '../queue/queue-geometry.js'

/** The three address registers of a queue, by the part of the queue that each points at. */
type QueueArea = 'descriptorArea' | 'driverArea' | 'deviceArea'

/** One of the two words of an address register. */
export type QueueAddressWord = readonly [area: QueueArea, half: 'low' | 'high']

/** One queue's registers, as the driver fills them in before DRIVER_OK. Checked as a whole only then. */
export class QueueSetup {
  readonly maxSize: number
  size: number
  #ready = false
  readonly #address: Readonly<Record<'low' | 'high', Record<QueueArea, number>>> = {
    low: { descriptorArea: 0, driverArea: 0, deviceArea: 0 },
    high: { descriptorArea: 0, driverArea: 0, deviceArea: 0 },
  }

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

  address([area, half]: QueueAddressWord): number {
    return this.#address[half][area]
  }

  setAddress([area, half]: QueueAddressWord, value: number): void {
    this.#address[half][area] = value
  }

  geometry(): QueueGeometry {
    const { low, high } = this.#address
    const at = (area: QueueArea) => guestAddress(low[area], high[area])
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
      this.#address.low[area] = 0
      this.#address.high[area] = 0
    }
  }
}
