import { constants } from 'node:os'
import type { Readable, Writable } from 'node:stream'
import { invalidOption, type VmmError } from '../errors.js'
import { Settled } from '../util/settled.js'
import type { AgentConnection, Session, SessionLink } from './agent-connection.js'
import { failureOf } from './failure.js'
import {
  CLOSE,
  CREDIT,
  DATA,
  EOF,
  EXEC,
  EXIT,
  encodeWords,
  FAILED,
  type Frame,
  RESIZE,
  SIGNAL,
  STARTED,
  STDERR,
  STDIN,
  STDOUT,
} from './protocol.js'
import { GuestInput, GuestOutput } from './window-streams.js'

/** How a program in the guest ended: one of the two is `null`. */
export interface GuestExit {
  /** What it returned, from 0 to 255. */
  readonly exitCode: number | null
  /** The signal that ended it. */
  readonly signal: NodeJS.Signals | null
}

/** A program in a guest. Emits nothing itself: its streams and promises do. */
export class GuestProcess implements AsyncDisposable {
  /** Its standard input. A program that reads no more takes whatever is written, and nobody sees it. */
  readonly stdin: Writable
  /** Its standard output; everything, if it has a terminal. It waits, in the guest, for who reads this. */
  readonly stdout: Readable
  /** Its standard error; nothing, if it has a terminal. */
  readonly stderr: Readable
  /** Its process id in the guest; 0 until it has started. */
  pid = 0
  /** When the program has ended; others may still hold its outputs open. Rejects if the agent is gone before. */
  readonly exited: Promise<GuestExit>
  /** When the program has ended and all that it wrote has come: after `exited`. */
  readonly closed: Promise<GuestExit>
  readonly #name: string
  readonly #link: SessionLink
  readonly #input: GuestInput
  readonly #outputs: readonly [GuestOutput, GuestOutput]
  readonly #open = new Set([STDOUT, STDERR])
  readonly #started = new Settled<void>()
  readonly #exited = new Settled<GuestExit>()
  readonly #closed = new Settled<GuestExit>()
  #exit: GuestExit | undefined

  /** @internal What {@link GuestAgent.spawn} does, once the agent is there. */
  constructor(connection: AgentConnection, name: string, request: Uint8Array) {
    this.#name = name
    const session: Session = {
      receive: (frame) => this.#receive(frame),
      lost: (error) => this.#lose(error),
    }
    const input = new GuestInput(
      (bytes) => this.#link.send(DATA, bytes, STDIN),
      () => this.#link.send(EOF, undefined, STDIN),
    )
    const output = (stream: number) =>
      new GuestOutput((count) => this.#link.send(CREDIT, encodeWords(count), stream))
    this.stdin = input
    this.#input = input
    this.#outputs = [output(STDOUT), output(STDERR)]
    this.stdout = this.#outputs[0]
    this.stderr = this.#outputs[1]
    this.exited = this.#exited.promise
    this.closed = this.#closed.promise
    this.#link = connection.open(session, EXEC, request)
  }

  /** @internal When its program runs; rejects if that could not be started. */
  get started(): Promise<void> {
    return this.#started.promise
  }

  /**
   * Sends a signal to the program and all that it has started in its process group. Nothing, if it has ended.
   * @throws VmmError `ERR_INVALID_OPTION`
   */
  kill(signal: NodeJS.Signals = 'SIGTERM'): void {
    const number = Object.hasOwn(constants.signals, signal) ? constants.signals[signal] : undefined
    if (number === undefined) throw invalidOption('signal', signal, "a signal such as 'SIGTERM'")
    if (!this.#exit) this.#link.send(SIGNAL, encodeWords(number))
  }

  /** The size of its terminal, in characters, each from 0 to 65535; without one, nothing. */
  resize(rows: number, columns: number): void {
    checkSize('rows', rows)
    checkSize('columns', columns)
    this.#link.send(RESIZE, encodeWords(rows | (columns * 65536)))
  }

  /** Kills it, if it has not ended, and gives its streams up. Waits for nothing. */
  close(): void {
    this.#link.send(CLOSE)
    for (const output of this.#outputs) output.destroy()
    this.#input.destroy()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close()
  }

  #receive(frame: Frame): boolean {
    const { type, stream, payload } = frame
    const output = this.#outputs[stream - STDOUT]
    const open = this.#open.has(stream)
    if (type === FAILED && this.pid === 0) {
      this.#lose(failureOf(frame, 'ERR_EXEC', `exec of ${JSON.stringify(this.#name)}`, this.#name))
      return true
    }
    if (type === STARTED && this.pid === 0 && payload.length === 4) {
      this.pid = payload.readUInt32LE(0)
      if (this.pid === 0) throw new RangeError('STARTED without a process')
      this.#started.resolve()
    } else if (this.pid === 0) throw new RangeError(`frame ${type} before the program has started`)
    else if (type === DATA && output && open) output.receive(payload)
    else if (type === EOF && output && open) {
      this.#open.delete(stream)
      output.finish()
    } else if (type === CREDIT && stream === STDIN && payload.length === 4) {
      this.#input.grant(payload.readUInt32LE(0))
    } else if (type === EXIT && payload.length === 8 && !this.#exit) {
      this.#exit = exitOf(payload.readUInt32LE(0), payload.readUInt32LE(4))
      this.#exited.resolve(this.#exit)
    } else throw new RangeError(`frame ${type} on stream ${stream} out of place`)
    if (!this.#exit || this.#open.size > 0) return false
    this.#input.destroy()
    this.#closed.resolve(this.#exit)
    return true
  }

  #lose(error: VmmError): void {
    this.#started.reject(error)
    this.#exited.reject(error)
    this.#closed.reject(error)
    this.#input.destroy()
    // Without an error, which would end a program that listens for none.
    for (const output of this.#outputs) output.destroy()
  }
}

function exitOf(code: number, number: number): GuestExit {
  if (number === 0) return { exitCode: code & 0xff, signal: null }
  const name = Object.entries(constants.signals).find(([, value]) => value === number)?.[0]
  return { exitCode: null, signal: (name ?? `SIG${number}`) as NodeJS.Signals }
}

export function checkSize(option: string, value: number): void {
  if (Number.isInteger(value) && value >= 0 && value <= 65535) return
  throw invalidOption(option, value, 'a whole number from 0 to 65535')
}
