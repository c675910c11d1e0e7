import { spawnSync } from 'node:child_process'
import type { Duplex, Readable, Writable } from 'node:stream'
import { EndMark } from './end-mark.js'
import type { Terminal } from './host-init.js'

/** The command's standard streams on this side. */
export interface Streams {
  stdin: Readable | undefined
  stdout: Writable
  stderr: Writable
  /** Which of them are a terminal, to be passed through as one. */
  terminal: Terminal
}

/** Characters of the host's console, and of QEMU's standard error, kept for messages. */
const LOG_TAIL = 16_384

/** Copies a port up to the end mark. Resolves when all has been handed on; a reader that is gone loses the rest. */
export function passOutput(port: Duplex, target: Writable, mark: Buffer): Promise<void> {
  const output = port.on('error', () => {}).pipe(new EndMark(mark))
  return new Promise((resolve) => {
    const drain = () => output.unpipe(target).resume()
    target.once('error', drain).once('close', drain)
    output.on('end', () => {
      target.off('error', drain).off('close', drain)
      resolve()
    })
    output.pipe(target, { end: false })
  })
}

export interface Input {
  /** Whether something of standard input is gone, so that no other run of the command could have it. */
  readonly taken: boolean
  /** Gives the stream and the terminal back as they were. */
  stop(): void
}

/** Passes standard input on, and of a terminal every key and its size. */
export function passInput(
  { stdin, stdout, terminal }: Streams,
  port: Duplex,
  control: Duplex,
): Input {
  port.on('error', () => {})
  if (!stdin) {
    port.end()
    return { taken: false, stop: () => {} }
  }
  const tty = terminal ? (stdin as NodeJS.ReadStream) : undefined
  const sendSize = () => {
    const { rows, columns } = stdout as NodeJS.WriteStream
    control.write(`size ${rows} ${columns}\n`)
  }
  if (tty) {
    tty.setRawMode(true)
    // Node's raw mode would still make \r\n of \n. What it restores at the end includes this.
    spawnSync('stty', ['-opost'], { stdio: [tty, 'ignore', 'ignore'] })
    sendSize()
    stdout.on('resize', sendSize)
  }
  let taken = false
  const onData = () => {
    taken = true
  }
  stdin.on('data', onData).pipe(port)
  return {
    get taken() {
      return taken && !terminal
    },
    stop: () => {
      stdin.off('data', onData).unpipe(port)
      stdin.pause()
      tty?.setRawMode(false)
      stdout.off('resize', sendSize)
    },
  }
}

/** Reads a stream to the end, and returns what gives its last part as text. */
export function keepTail(stream: Readable): () => string {
  let text = ''
  stream.on('error', () => {})
  stream.setEncoding('utf8').on('data', (chunk: string) => {
    text = (text + chunk).slice(-LOG_TAIL)
  })
  return () => text.replaceAll('\r', '').trim()
}

/** Calls back for each line, without its newline. */
export function eachLine(stream: Duplex, handle: (line: string) => void): void {
  let rest = ''
  stream.on('error', () => {})
  stream.setEncoding('latin1').on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop()!
    for (const line of lines) handle(line)
  })
}
