/** How long a channel that is closed waits for requests that do not come back, in milliseconds. */
export const CLOSE_PATIENCE = 4000

/** Lets any number of callers wait for the same end. */
export class DrainWait {
  #promise: Promise<void> | undefined
  #resolve: (() => void) | undefined

  get waiting(): boolean {
    return this.#promise !== undefined
  }

  wait(): Promise<void> {
    this.#promise ??= new Promise((resolve) => {
      this.#resolve = resolve
    })
    return this.#promise
  }

  done(): void {
    const resolve = this.#resolve
    this.#promise = undefined
    this.#resolve = undefined
    resolve?.()
  }
}
