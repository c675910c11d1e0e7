import type { SignalEvent } from '../../../util/signal-event.js'

/** The eventfds of a queue whose ring is served elsewhere, until they are released. */
export interface QueueLines {
  /** What the driver's kicks raise. */
  readonly kick: SignalEvent | undefined
  /** What interrupts the driver for the queue without this process. */
  readonly call: SignalEvent | undefined
  release(): void
}

/** What a queue's ioeventfd raises, as a transport sees it. */
export interface QueueKick {
  /** Kicks are not watched for any more: whoever is given the event has them. */
  take(): SignalEvent
  /** They are again; those that nobody has heard come now. */
  giveBack(): void
}
