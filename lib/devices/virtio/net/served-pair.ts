import type { NetChannel, RingServer, ServedRing } from '../../../backends/net/net-backend.js'
import { asError } from '../../../errors.js'
import type { DeviceContext, QueueHandle } from '../virtio-device.js'
import { receiveQueue, transmitQueue } from './abi.js'

/** The two sides of a pair, as a {@link RingServer} numbers them. */
const SIDES = [0, 1] as const
type Side = (typeof SIDES)[number]

interface Served {
  readonly queue: QueueHandle
  /** Where to go on when the ring is served again. */
  next: number
  running: boolean
}

/**
 * A receive queue and a transmit queue whose rings the backend's {@link RingServer} serves: frames do not pass through
 * this process. They are served from DRIVER_OK on, while the link is up, the driver uses the pair, and the machine is
 * not paused.
 */
export class ServedPair {
  readonly channel: NetChannel
  readonly #index: number
  readonly #rings: RingServer
  readonly #served: [Served | undefined, Served | undefined] = [undefined, undefined]
  #context: DeviceContext | undefined
  #on: { readonly link: boolean; readonly enabled: boolean; readonly paused: boolean }

  constructor(index: number, channel: NetChannel, rings: RingServer, link: boolean) {
    this.#index = index
    this.channel = channel
    this.#rings = rings
    this.#on = { link, enabled: index === 0, paused: false }
  }

  get usable(): boolean {
    return this.#served.every((served) => served !== undefined)
  }

  /** The driver is ready, or has set up a queue again that it had reset. */
  activate(context: DeviceContext): void {
    if (this.#context !== context) this.#rings.agree(context.driverFeatures)
    this.#context = context
    for (const side of SIDES) this.#served[side] ??= this.#take(context, side)
    this.#update()
  }

  resetQueue(receive: boolean): void {
    const side = receive ? 0 : 1
    this.#halt(side)
    this.#served[side]?.queue.release()
    this.#served[side] = undefined
  }

  reset(): void {
    this.resetQueue(true)
    this.resetQueue(false)
    this.#context = undefined
    this.#on = { ...this.#on, paused: false }
    this.channel.filter?.(undefined)
  }

  transmit(): boolean {
    return this.#kick(1)
  }

  refill(): boolean {
    return this.#kick(0)
  }

  /** What the rings are served for has changed. */
  set(on: { link?: boolean; enabled?: boolean; paused?: boolean }): void {
    this.#on = { ...this.#on, ...on }
    this.#update()
  }

  #take(context: DeviceContext, side: Side): Served | undefined {
    const index = side === 0 ? receiveQueue(this.#index) : transmitQueue(this.#index)
    const queue = context.handOver(index, () => {
      if (this.#served[side]?.running) this.#rings.redirect(side)
    })
    return queue && { queue, next: 0, running: false }
  }

  #update(): void {
    const { link, enabled, paused } = this.#on
    for (const side of SIDES) {
      if (link && enabled && !paused) this.#run(side)
      else this.#halt(side)
    }
  }

  #run(side: Side): void {
    const served = this.#served[side]
    const context = this.#context
    if (served === undefined || context === undefined || served.running) return
    const { queue } = served
    const ring: ServedRing = {
      ...queue.geometry,
      get kick() {
        return queue.kick
      },
      get call() {
        return queue.call
      },
      called: () => queue.interrupt(),
      broken: (reason) => context.needsReset(`queue ${queue.index}: ${reason}`),
    }
    try {
      this.#rings.start(side, ring, served.next)
      served.running = true
    } catch (error) {
      context.fail(asError(error))
    }
  }

  #halt(side: Side): void {
    const served = this.#served[side]
    if (!served?.running) return
    served.running = false
    served.next = this.#rings.stop(side)
  }

  #kick(side: Side): boolean {
    if (this.#served[side]?.running) this.#rings.kick(side)
    return false
  }
}
