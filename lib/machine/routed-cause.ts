import type { NativeExitChannel } from '../binding.js'
import { type CauseView, type InterruptCause, NO_CAUSE } from '../bus/interrupt-cause.js'

const IDLE_LEVEL = 1
const PENDING_LEVEL = 2
const ACKNOWLEDGES = 4
const SHARED = 8
const RAISES = 16

/** A cause that the vCPUs' threads keep, with the native route `id`. */
export class RoutedCause implements InterruptCause {
  readonly #channel: NativeExitChannel
  readonly #id: number
  #idle = NO_CAUSE.idle
  #pending = NO_CAUSE.pending
  #flags = 0

  constructor(channel: NativeExitChannel, id: number) {
    this.#channel = channel
    this.#id = id
  }

  get pending(): boolean {
    return this.#channel.causePending(this.#id)
  }

  set pending(pending: boolean) {
    this.#channel.causePending(this.#id, pending ? 1 : 0)
  }

  set(view: CauseView): void {
    const flags =
      (view.idleLevel ? IDLE_LEVEL : 0) |
      (view.pendingLevel ? PENDING_LEVEL : 0) |
      (view.acknowledges ? ACKNOWLEDGES : 0) |
      (view.shared ? SHARED : 0) |
      (view.raises ? RAISES : 0)
    const { idle, pending } = view
    if (flags === this.#flags && idle === this.#idle && pending === this.#pending) return
    this.#idle = idle
    this.#pending = pending
    this.#flags = flags
    this.#channel.setCause(this.#id, idle, pending, flags)
  }

  read(): number {
    return this.#channel.readCause(this.#id)
  }

  /** The vCPU's thread saw the write when it posted it. */
  written(): void {}
}
