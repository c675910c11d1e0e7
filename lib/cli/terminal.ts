import type { Readable, Writable } from 'node:stream'
import type { ReadStream } from 'node:tty'

const CTRL_A = 0x01

/** What the keys typed so far ask for: bytes for the guest, and whether Ctrl-A x was typed. */
export interface Keys {
  bytes: Uint8Array
  leave: boolean
}

/**
 * Filters what is typed: Ctrl-A x leaves, Ctrl-A Ctrl-A sends one Ctrl-A, Ctrl-A and another key sends both.
 * Keeps state between calls, since a terminal may deliver the two keys apart.
 */
export class EscapeFilter {
  #escaped = false

  push(typed: Uint8Array): Keys {
    const bytes: number[] = []
    for (const byte of typed) {
      if (!this.#escaped) {
        if (byte === CTRL_A) this.#escaped = true
        else bytes.push(byte)
        continue
      }
      this.#escaped = false
      if (byte === 0x78 /* x */) return { bytes: Uint8Array.from(bytes), leave: true }
      if (byte !== CTRL_A) bytes.push(CTRL_A)
      bytes.push(byte)
    }
    return { bytes: Uint8Array.from(bytes), leave: false }
  }
}

/** A machine's console, as this file needs it. */
interface Console {
  readonly input: Writable
  readonly output: Readable
}

/**
 * Connects this process's terminal to a console: raw mode, every key to the guest, Ctrl-A x calls `onLeave`.
 * Where stdin is no terminal its bytes are passed on as they are, and its end is not the guest's end.
 * @returns a function that puts the terminal back; it is also called when the process exits, however it does.
 */
export function attachTerminal(
  console: Console,
  onLeave: () => void,
  stdin = process.stdin,
  stdout: Writable = process.stdout,
): () => void {
  console.output.pipe(stdout, { end: false })
  const raw = stdin.isTTY ? (stdin as ReadStream) : undefined
  const filter = new EscapeFilter()
  const onData = (typed: Buffer) => {
    const keys = raw ? filter.push(typed) : { bytes: typed, leave: false }
    if (keys.bytes.length > 0 && !console.input.write(keys.bytes)) {
      stdin.pause()
      console.input.once('drain', () => stdin.resume())
    }
    if (keys.leave) onLeave()
  }
  const restore = () => {
    process.removeListener('exit', restore)
    stdin.removeListener('data', onData)
    raw?.setRawMode(false)
    stdin.pause()
    stdin.unref?.()
    console.output.unpipe(stdout)
  }
  raw?.setRawMode(true)
  process.once('exit', restore)
  stdin.on('data', onData)
  return restore
}
