/** A clock that stands still but for `advance`, and a timer on it: what a watchdog runs by. */
export class ManualTimer {
  now = 0
  #due: { readonly at: number; readonly callback: () => void } | undefined

  readonly clock = (): number => this.now

  readonly schedule = (callback: () => void, milliseconds: number): (() => void) => {
    const mine = { at: this.now + milliseconds, callback }
    this.#due = mine
    return () => {
      if (this.#due === mine) this.#due = undefined
    }
  }

  /** When something is to fall due. */
  get dueAt(): number | undefined {
    return this.#due?.at
  }

  /** What falls due meanwhile is called at its time. */
  advance(milliseconds: number): void {
    const end = this.now + milliseconds
    while (this.#due && this.#due.at <= end) {
      const { at, callback } = this.#due
      this.now = at
      this.#due = undefined
      callback()
    }
    this.now = end
  }
}
