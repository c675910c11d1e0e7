import type { VmmError } from '../errors.js'
import { Settled } from '../util/settled.js'
import type { AgentConnection, Session, SessionLink } from './agent-connection.js'
import { failureOf } from './failure.js'
import {
  CLOSE,
  CREDIT,
  DATA,
  EOF,
  EXIT,
  encodeWords,
  FAILED,
  type Frame,
  STARTED,
  STDIN,
  STDOUT,
} from './protocol.js'
import { GuestInput, GuestOutput } from './window-streams.js'

/** A file of the guest's that is being read or written, or something else that is done with one. */
export class GuestFile {
  /** What is written to the file: it gets its name when this has ended. */
  readonly input: GuestInput
  /** What is read from it. */
  readonly output: GuestOutput
  /** The file's permission bits, once it is open. */
  readonly opened = new Settled<number>()
  readonly done = new Settled<void>()
  readonly #path: string
  readonly #link: SessionLink
  #open = false
  #atEnd = false

  /**
   * @param type what is done: `READ` and its like
   * @param path names the file in errors
   */
  constructor(connection: AgentConnection, type: number, path: string, request: Uint8Array) {
    this.#path = path
    this.input = new GuestInput(
      (bytes) => this.#link.send(DATA, bytes, STDIN),
      () => this.#link.send(EOF, undefined, STDIN),
    )
    this.output = new GuestOutput((count) => {
      // Nobody waits for the rest of it, as a program does that is to go on.
      if (!this.output.destroyed) this.#link.send(CREDIT, encodeWords(count), STDOUT)
    })
    const session: Session = {
      receive: (frame) => this.#receive(frame),
      lost: (error) => this.#end(error),
    }
    this.#link = connection.open(session, type, request)
  }

  /** Gives it up: a file that is not yet written whole is left as it was. */
  close(): void {
    this.#link.send(CLOSE)
    this.input.destroy()
    this.output.destroy()
  }

  #receive(frame: Frame): boolean {
    const { type, stream, payload } = frame
    if (type === FAILED) {
      const what = JSON.stringify(this.#path)
      this.#end(failureOf(frame, 'ERR_GUEST_FILE', what, this.#path))
      return true
    }
    if (type === STARTED && !this.#open && payload.length === 16) {
      this.#open = true
      this.opened.resolve(payload.readUInt32LE(0) & 0o7777)
    } else if (!this.#open) throw new RangeError(`frame ${type} before the file is open`)
    else if (type === DATA && stream === STDOUT && !this.#atEnd) this.output.receive(payload)
    else if (type === EOF && stream === STDOUT && !this.#atEnd) {
      this.#atEnd = true
      this.output.finish()
    } else if (type === CREDIT && stream === STDIN && payload.length === 4) {
      this.input.grant(payload.readUInt32LE(0))
    } else if (type === EXIT && payload.length === 8) {
      this.#end()
      return true
    } else throw new RangeError(`frame ${type} on stream ${stream} out of place`)
    return false
  }

  #end(error?: VmmError): void {
    this.input.destroy()
    if (!this.#atEnd) this.output.destroy()
    if (error) {
      this.opened.reject(error)
      this.done.reject(error)
    } else this.done.resolve()
  }
}
