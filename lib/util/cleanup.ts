/**
 * What must be undone, in reverse order of the doing. Every step is run even if one before it failed.
 * (Node 20 has no AsyncDisposableStack.)
 */
export class Cleanup {
  #steps: (() => void | Promise<void>)[] = []
  /** Takes these steps out of those that they are part of. */
  #forget = () => {}

  defer(step: () => void | Promise<void>): void {
    this.#steps.push(step)
  }

  /** Defers `close()` of what was just made, and hands it on. */
  own<T extends { close(): void | Promise<void> }>(made: T): T {
    this.defer(() => made.close())
    return made
  }

  /** Steps of their own, which can be run before the others and are run with them otherwise. */
  child(): Cleanup {
    const child = new Cleanup()
    const step = () => child.run()
    this.defer(step)
    child.#forget = () => {
      this.#steps = this.#steps.filter((other) => other !== step)
    }
    return child
  }

  /**
   * Runs and forgets every step.
   * @throws the only error of the steps, or an AggregateError of several, after all have run.
   */
  async run(): Promise<void> {
    this.#forget()
    const errors: unknown[] = []
    for (let step = this.#steps.pop(); step; step = this.#steps.pop()) {
      try {
        await step()
      } catch (error) {
        errors.push(error)
      }
    }
    if (errors.length === 1) throw errors[0]
    if (errors.length > 1) throw new AggregateError(errors, 'several steps of closing failed')
  }
}
