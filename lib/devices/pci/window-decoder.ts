import type { Bus } from '../../bus/bus.js'
import { VmmError } from '../../errors.js'
import type { AddressWindow } from './address-window.js'

/** Addresses from `start` to before `end`. */
export interface AddressRange {
  /** The first address. */
  readonly start: number
  /** The one after the last. */
  readonly end: number
}

/** What a host bridge passes on to its bus. */
export interface BridgeRanges {
  /** Guest-physical addresses. */
  readonly memory: readonly AddressRange[]
  /** Ports. */
  readonly io: readonly AddressRange[]
}

/**
 * Keeps the two buses in step with where the registers of PCI devices say that their windows are.
 *
 * A window is on its bus if it lies in what the host bridge passes on and nothing else is there: the guest may write any
 * address, but takes nobody's place. One that has to stand back comes in when the other has gone.
 */
export class WindowDecoder {
  readonly #buses: { readonly pio: Bus; readonly mmio: Bus }
  readonly #ranges: BridgeRanges
  readonly #windows = new Map<AddressWindow, { base: number; size: number } | undefined>()

  constructor(buses: { readonly pio: Bus; readonly mmio: Bus }, ranges: BridgeRanges) {
    this.#buses = buses
    this.#ranges = ranges
  }

  add(windows: readonly AddressWindow[]): void {
    for (const window of windows) this.#windows.set(window, undefined)
    this.update()
  }

  remove(windows: readonly AddressWindow[]): void {
    for (const window of windows) {
      this.#detach(window)
      this.#windows.delete(window)
    }
    this.update()
  }

  /** Registers may have changed: what has moved goes first, then comes what finds its place free. */
  update(): void {
    const arriving: [AddressWindow, { base: number; size: number }][] = []
    for (const [window, current] of this.#windows) {
      const place = this.#placeOf(window)
      if (place?.base === current?.base && place?.size === current?.size) continue
      if (current !== undefined) this.#detach(window)
      if (place !== undefined) arriving.push([window, place])
    }
    for (const [window, place] of arriving) this.#attach(window, place)
  }

  #placeOf(window: AddressWindow): { base: number; size: number } | undefined {
    const place = window.place()
    if (place === undefined) return undefined
    const ranges = window.space === 'pio' ? this.#ranges.io : this.#ranges.memory
    const { base, size } = place
    return ranges.some(({ start, end }) => base >= start && base < end && size <= end - base)
      ? place
      : undefined
  }

  #attach(window: AddressWindow, place: { base: number; size: number }): void {
    try {
      this.#buses[window.space].attach(place.base, place.size, window.device)
    } catch (error) {
      if (error instanceof VmmError && error.code === 'ERR_BUS_CONFLICT') return
      throw error
    }
    this.#windows.set(window, place)
    window.moved?.(place.base)
  }

  #detach(window: AddressWindow): void {
    const current = this.#windows.get(window)
    if (current === undefined) return
    this.#windows.set(window, undefined)
    this.#buses[window.space].detach(current.base)
    window.moved?.(undefined)
  }
}
