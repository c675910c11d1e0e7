import { constants } from 'node:os'
import { Writable } from 'node:stream'
import { Command } from 'commander'
import { printJson } from './output.js'

interface ExecOptions {
  env: Record<string, string>
  cwd?: string
  tty?: boolean
  json?: boolean
}

interface Exit {
  readonly exitCode: number | null
  readonly signal: NodeJS.Signals | null
}

const NONE: Exit = { exitCode: 1, signal: null }

/** `node-kvm exec` */
export function execCommand(): Command {
  return new Command('exec')
    .description('Run a program in a running machine that has the agent: run --agent.')
    .argument('<name>', 'as `node-kvm ps` lists it')
    .argument('<command...>', 'the program and its arguments, after --')
    .option('-e, --env <name=value>', 'a variable (repeatable)', variable, {})
    .option('-w, --cwd <path>', 'its working directory')
    .option('-t, --tty', 'a terminal for it: where standard input and output are one, unless told')
    .option('--no-tty', 'none')
    .option('--json', 'print what it wrote and how it ended as JSON, at its end')
    .passThroughOptions()
    .addHelpText(
      'after',
      "\nExit status: the program's; 128 and the signal's number if it was killed.",
    )
    .action(async (name: string, words: string[], options: ExecOptions, command: Command) => {
      const { json, tty, ...rest } = options
      if (json && tty) command.error('error: --json does not go with --tty')
      // What is passed through has its -- still.
      const argv = words[0] === '--' ? words.slice(1) : words
      const outputs = json ? [new Collected('stdout'), new Collected('stderr')] : []
      const [stdout, stderr] = outputs
      const exit = await exec(
        name,
        argv,
        { ...rest, tty: json ? false : tty },
        { stdout: stdout ?? process.stdout, stderr: stderr ?? process.stderr },
      )
      if (json) printJson({ stdout: stdout!.text, stderr: stderr!.text, ...exit })
      const { signal, exitCode } = exit
      process.exitCode = signal === null ? (exitCode ?? 1) : 128 + constants.signals[signal]
    })
}

/** Bytes of an output that are kept for `--json`. */
const COLLECTED_MAX = 16 * 2 ** 20

class Collected extends Writable {
  readonly #name: string
  readonly #chunks: Buffer[] = []
  #length = 0

  constructor(name: string) {
    super()
    this.#name = name
  }

  get text(): string {
    return Buffer.concat(this.#chunks).toString()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#length += chunk.length
    if (this.#length > COLLECTED_MAX) {
      throw new Error(`${this.#name}: more than ${COLLECTED_MAX} bytes, which --json does not keep`)
    }
    this.#chunks.push(chunk)
    done()
  }
}

function variable(text: string, before: Record<string, string>): Record<string, string> {
  const [, name = text, value = ''] = /^([^=]+)=(.*)$/s.exec(text) ?? []
  return { ...before, [name]: value }
}

async function exec(
  name: string,
  argv: string[],
  options: { env: Record<string, string>; cwd?: string; tty?: boolean | undefined },
  outputs: { stdout: Writable; stderr: Writable },
): Promise<Exit> {
  const { ask } = await import('./supervisor/client.js')
  const frames = await import('./supervisor/frames.js')
  const { stdin, stdout } = process
  const tty = options.tty ?? Boolean(stdin.isTTY && stdout.isTTY)
  const size = { rows: stdout.rows || 24, columns: stdout.columns || 80 }
  const { env, cwd } = options
  const request = {
    method: 'exec',
    argv,
    env,
    ...(cwd && { cwd }),
    ...(tty && { tty: size }),
  } as const
  const { socket } = await ask(name, request, EXEC_TIMEOUT)
  let exit = NONE
  const decoder = new frames.FrameDecoder((type, payload) => {
    if (type === frames.STDOUT) return frames.writeTo(outputs.stdout, payload)
    if (type === frames.STDERR) return frames.writeTo(outputs.stderr, payload)
    if (type === frames.EXIT) exit = JSON.parse(String(payload)) as Exit
    return undefined
  })
  const resize = () => {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt16BE(stdout.rows || 24, 0)
    bytes.writeUInt16BE(stdout.columns || 80, 2)
    socket.write(frames.encodeFrame(frames.RESIZE, bytes))
  }
  const pass = (signal: NodeJS.Signals) => socket.write(frames.encodeFrame(frames.SIGNAL, signal))
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  for (const signal of signals) process.on(signal, pass)
  if (tty) {
    stdin.setRawMode?.(true)
    stdout.on('resize', resize)
  }
  stdin.pipe(new frames.FrameEncoder(frames.STDIN, frames.STDIN_END)).pipe(socket, { end: false })
  let fault: Error | undefined
  decoder.once('error', (error) => {
    fault = error
  })
  const ended = new Promise((resolve) => decoder.once('finish', resolve).once('close', resolve))
  socket.pipe(decoder)
  await ended
  for (const signal of signals) process.off(signal, pass)
  stdout.off('resize', resize)
  if (tty) stdin.setRawMode?.(false)
  stdin.unpipe()
  stdin.pause()
  stdin.unref?.()
  socket.destroy()
  if (fault) throw fault
  return exit
}

/** Milliseconds for the guest's agent to come up and start the program. */
const EXEC_TIMEOUT = 60_000
