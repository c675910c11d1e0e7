import type { QueueKick } from '../devices/virtio/transport/queue-lines.js'
import { EventFd } from '../kvm/event-fd.js'

/** What a queue can be told of. */
export interface Notified {
  notify(queueIndex: number): void
}

/** The eventfd of a queue's kicks: heard by this thread, unless somebody else has taken it. */
export class KickEvent implements QueueKick {
  readonly event = new EventFd()
  /** A machine that nobody holds any more is collected, though its kicks are watched. */
  readonly #transport: WeakRef<Notified>
  readonly #queue: number

  constructor(transport: Notified, queue: number) {
    this.#transport = new WeakRef(transport)
    this.#queue = queue
    this.#watch()
  }

  take(): EventFd {
    this.event.unwatch()
    return this.event
  }

  giveBack(): void {
    if (!this.event.closed) this.#watch()
  }

  close(): void {
    this.event.close()
  }

  #watch(): void {
    const transport = this.#transport.deref()
    const queue = this.#queue
    if (transport) this.event.watchFor(transport, (living) => living.notify(queue))
  }
}
