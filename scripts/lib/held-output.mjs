// The output of what runs beside something else: kept until that has ended, so that each can be read in one piece.
import { Writable } from 'node:stream'

export class HeldOutput extends Writable {
  #target
  /** What has been written so far; undefined once it is let go. */
  #kept = []

  /** @param {Writable} target */
  constructor(target) {
    super()
    this.#target = target
  }

  _write(chunk, _encoding, done) {
    if (this.#kept === undefined) return void this.#target.write(chunk, done)
    this.#kept.push(chunk)
    done()
  }

  /** Writes what was kept, and from here on whatever comes. */
  release() {
    for (const chunk of this.#kept ?? []) this.#target.write(chunk)
    this.#kept = undefined
  }
}

/**
 * Two jobs at the same time, of which the second one's output comes after the first one's.
 * @template A, B
 * @param {(output: Writable) => Promise<A>} first
 * @param {(output: Writable) => Promise<B>} second
 * @param {Writable} [target]
 * @returns {Promise<[A, B]>}
 */
export function beside(first, second, target = process.stdout) {
  const held = new HeldOutput(target)
  return Promise.all([first(target).finally(() => held.release()), second(held)])
}
