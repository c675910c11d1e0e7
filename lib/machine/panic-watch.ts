import type { CharSink } from '../backends/char/char-backend.js'

/** What panic() of kernel/panic.c prints, whatever the version. */
const START = Buffer.from('Kernel panic - not syncing: ')
const MESSAGE_MAX = 256
const LINE_FEED = 0x0a

/** Passes a console's bytes on, and notes with what words the kernel panicked. */
export class PanicWatch implements CharSink {
  readonly #sink: CharSink
  /** How much of `START` the last bytes are. */
  #matched = 0
  #message: string | undefined
  #reading = false

  constructor(sink: CharSink) {
    this.#sink = sink
  }

  /** The panic's message since the last `reset()`, its first 256 bytes; `undefined` if there was none. */
  get message(): string | undefined {
    return this.#message?.trimEnd()
  }

  /** The machine starts anew. */
  reset(): void {
    this.#matched = 0
    this.#message = undefined
    this.#reading = false
  }

  put(byte: number): void {
    this.#sink.put(byte)
    if (this.#reading) this.#read(byte)
    else if (byte === START[this.#matched]) this.#advance()
    // K begins a match and is nowhere else in it.
    else this.#matched = byte === START[0] ? 1 : 0
  }

  #advance(): void {
    this.#matched++
    if (this.#matched < START.length) return
    this.#matched = 0
    // The first panic is the one that counts.
    if (this.#message !== undefined) return
    this.#message = ''
    this.#reading = true
  }

  #read(byte: number): void {
    if (byte === LINE_FEED || this.#message!.length === MESSAGE_MAX) this.#reading = false
    else this.#message += String.fromCharCode(byte)
  }
}
