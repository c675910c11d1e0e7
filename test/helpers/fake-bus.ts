import type { BusDevice } from '../../lib/bus/bus-device.js'

/**
 * Serves a device as a vCPU's thread does: latched registers from their cells unless a settling write waits, posted
 * writes late (at the next synchronous access, or on `drain()`), everything else at once.
 */
export class FakeBus {
  readonly latches = new Map<number, number | undefined>()
  /** Accesses that waited for JavaScript. */
  synchronous = 0
  readonly #posted: [number, 1 | 2 | 4, number][] = []

  constructor(readonly device: BusDevice) {
    for (const offset of device.shortcuts?.latched ?? []) {
      device.shortcuts?.latch?.(offset, { set: (value) => this.latches.set(offset, value) })
    }
  }

  in(offset: number, width: 1 | 2 | 4 = 1): number {
    const { settling = [] } = this.device.shortcuts ?? {}
    const settled = !this.#posted.some(([posted]) => settling.includes(posted))
    const latched = width === 1 && settled ? this.latches.get(offset) : undefined
    if (latched !== undefined) return latched
    this.drain()
    this.synchronous++
    return this.device.read(offset, width)
  }

  out(offset: number, value: number, width: 1 | 2 | 4 = 1): void {
    if (this.device.shortcuts?.posted?.includes(offset)) {
      this.#posted.push([offset, width, value])
      return
    }
    this.drain()
    this.synchronous++
    this.device.write(offset, width, value)
  }

  drain(): void {
    for (const [offset, width, value] of this.#posted.splice(0))
      this.device.write(offset, width, value)
  }
}
