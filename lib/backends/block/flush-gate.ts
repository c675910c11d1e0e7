import { constants } from 'node:os'

/** Whether a disk's writes may have been lost. Outlives the channels: a reset of the device does not bring data back. */
export interface FlushState {
  /** The errno with which a flush failed, 0 if none has. */
  error: number
}

/**
 * Turns the flushes of one disk into fdatasync calls: one at a time, each for all that were asked for before it began.
 *
 * The kernel reports a failure to write back once, drops the data, and calls the next fdatasync a success. So flushes
 * that ran side by side must share their result, and after a failure every later flush fails with the same error, until
 * the disk is opened anew.
 */
export class FlushGate {
  readonly #state: FlushState
  /** Tags that the call in progress answers. */
  #current: number[] = []
  /** Tags that came after it began. */
  #next: number[] = []
  #refused: number[] = []
  #running = false

  constructor(state: FlushState) {
    this.#state = state
  }

  get waiting(): number {
    return (
      this.#next.length +
      this.#refused.length +
      (this.#running ? Math.max(this.#current.length - 1, 0) : 0)
    )
  }

  /** Flushes to be answered with an error without a call. */
  get refused(): number {
    return this.#refused.length
  }

  /** @returns whether a call is to be made for it now */
  ask(tag: number): boolean {
    if (this.#state.error !== 0) {
      this.#refused.push(tag)
      return false
    }
    if (this.#running) {
      this.#next.push(tag)
      return false
    }
    this.#running = true
    this.#current.push(tag)
    return true
  }

  /** The call came back. @returns whether another is to be made */
  settle(error: number, target: { complete(tag: number, error: number): void }): boolean {
    if (error !== 0 && this.#state.error === 0) this.#state.error = error
    const done = this.#current
    this.#current = this.#next
    this.#next = []
    this.#running = this.#current.length > 0
    for (const tag of done) target.complete(tag, error)
    if (!this.#running || this.#state.error === 0) return this.#running
    this.#running = false
    this.#refused.push(...this.#current)
    this.#current = []
    return false
  }

  /** Answers the flushes that need no call. */
  refuse(target: { complete(tag: number, error: number): void }): void {
    const tags = this.#refused
    if (tags.length === 0) return
    this.#refused = []
    for (const tag of tags) target.complete(tag, this.#state.error || constants.errno.EIO)
  }
}
