import type { BusDevice } from '../../lib/bus/bus-device.js'
import { type CauseView, NO_CAUSE, OwnCause } from '../../lib/bus/interrupt-cause.js'

/** As the vCPUs' threads keep it: it is pending when the write is posted, not when the device handles it. */
class ThreadsCause extends OwnCause {
  view = NO_CAUSE
  override set(view: CauseView): void {
    this.view = view
    super.set(view)
  }
  override written(): void {}
  posted(): void {
    super.written()
  }
}

/**
 * Serves a device as a vCPU's thread does: latched registers from their cells unless a settling write waits, posted
 * writes late (at the next synchronous access, or on `drain()`), everything else at once; with `keepsCause` its cause too.
 */
export class FakeBus {
  readonly latches = new Map<number, number | undefined>()
  /** Accesses that waited for JavaScript. */
  synchronous = 0
  readonly #posted: [number, 1 | 2 | 4, number][] = []

  readonly #cause: ThreadsCause | undefined

  constructor(
    readonly device: BusDevice,
    { keepsCause = false } = {},
  ) {
    for (const offset of device.shortcuts?.latched ?? []) {
      if (keepsCause && offset === device.shortcuts?.cause?.told) continue
      device.shortcuts?.latch?.(offset, { set: (value) => this.latches.set(offset, value) })
    }
    if (!keepsCause || device.shortcuts?.cause === undefined) return
    this.#cause = new ThreadsCause(device.shortcuts.cause.irq, () => {})
    device.shortcuts.cause.attach(this.#cause)
  }

  in(offset: number, width: 1 | 2 | 4 = 1): number {
    const { settling = [] } = this.device.shortcuts ?? {}
    const settled = !this.#posted.some(([posted]) => settling.includes(posted))
    if (width === 1 && settled) {
      const latched = this.latches.get(offset)
      if (latched !== undefined) return latched
      const told = offset === this.device.shortcuts?.cause?.told
      if (told && this.#cause?.view.shared) return this.#cause.read()
    }
    this.drain()
    this.synchronous++
    return this.device.read(offset, width)
  }

  /** What a vCPU's thread answers at this moment, without what the read does. */
  peek(offset: number): number | undefined {
    if (this.#cause === undefined || offset !== this.device.shortcuts?.cause?.told) {
      return this.latches.get(offset)
    }
    return this.#cause.pending ? this.#cause.view.pending : this.#cause.view.idle
  }

  out(offset: number, value: number, width: 1 | 2 | 4 = 1): void {
    if (this.device.shortcuts?.posted?.includes(offset)) {
      this.#posted.push([offset, width, value])
      if (width === 1 && offset === this.device.shortcuts.cause?.written) this.#cause?.posted()
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
