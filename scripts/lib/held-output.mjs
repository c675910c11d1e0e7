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
