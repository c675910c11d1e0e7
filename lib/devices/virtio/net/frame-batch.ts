/** Bytes of a frame that may be a question or an answer: of a longer one more are likely to follow. */
const SHORT = 1024

/** Frames, or parts of them, as far as their number and length tell a question or an answer from a stream. */
export class FrameBatch {
  #count = 0
  #long = false

  add(length: number): void {
    this.#count++
    this.#long ||= length > SHORT
  }

  get empty(): boolean {
    return this.#count === 0
  }

  /** One short frame and no other. */
  get lone(): boolean {
    return this.#count === 1 && !this.#long
  }

  clear(): void {
    this.#count = 0
    this.#long = false
  }
}
