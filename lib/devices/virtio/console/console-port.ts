import { Readable, Writable } from 'node:stream'

/** Bytes of a console's output kept for a reader that is behind. */
const CONSOLE_BUFFER = 2 ** 20

/** How a port reaches its device. */
export interface PortEvents {
  /** There is room for the guest's output again. */
  drained(): void
  /** There is input for the guest. */
  written(): void
}

/** One port of a virtio console: a pair of streams on the host's side. */
export class ConsolePort {
  readonly name: string
  /** Whether this is a console, and not a port for a program in the guest: the guest busy-waits for its output. */
  readonly isConsole: boolean
  /**
   * What the guest writes. If nobody reads, a port makes its writer in the guest wait; a console, which must not, loses
   * bytes and counts them.
   */
  readonly output: Readable
  /** What the guest reads. A write completes when the guest has taken it. */
  readonly input: Writable
  /** Bytes of output lost. */
  lost = 0
  /** A program in the guest has the port open. */
  guestOpen = false

  readonly #pending: { chunk: Buffer; offset: number; done: () => void }[] = []
  #full = false

  constructor(name: string, isConsole: boolean, events: PortEvents) {
    this.name = name
    this.isConsole = isConsole
    this.output = new Readable({
      highWaterMark: isConsole ? CONSOLE_BUFFER : 65536,
      read: () => {
        if (!this.#full) return
        this.#full = false
        events.drained()
      },
    })
    this.input = new Writable({
      highWaterMark: 65536,
      write: (chunk: Buffer, _encoding, done) => {
        this.#pending.push({ chunk, offset: 0, done })
        events.written()
      },
    })
  }

  /** Whether more output would have to wait. */
  get full(): boolean {
    return this.#full && !this.isConsole
  }

  /** Takes a piece of the guest's output, which becomes the port's own. */
  put(bytes: Uint8Array): void {
    if (this.output.destroyed || (this.isConsole && this.#full)) {
      this.lost += bytes.length
      return
    }
    if (!this.output.push(bytes)) this.#full = true
  }

  get hasInput(): boolean {
    return this.#pending.length > 0
  }

  /** Moves input into `bytes`; returns how much there was. */
  take(bytes: Uint8Array): number {
    let at = 0
    while (at < bytes.length) {
      const head = this.#pending[0]
      if (head === undefined) break
      const part = head.chunk.subarray(head.offset, head.offset + bytes.length - at)
      bytes.set(part, at)
      at += part.length
      head.offset += part.length
      if (head.offset < head.chunk.length) break
      this.#pending.shift()
      head.done()
    }
    return at
  }

  end(): void {
    this.output.push(null)
    this.input.destroy()
  }
}
