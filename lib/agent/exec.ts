import { finished, type Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { invalidOption } from '../errors.js'
import { collect } from './collect.js'
import type { SpawnOptions } from './exec-request.js'
import type { GuestExit, GuestProcess } from './guest-process.js'
import type { LimitOptions } from './limit.js'

/** How {@link GuestAgent.exec} runs a program. */
export interface ExecOptions extends SpawnOptions, LimitOptions {
  /** What the program reads: text, bytes, or a stream of them. Nothing unless told. */
  stdin?: string | Uint8Array | Readable
  /** Takes what it writes, as it comes, instead of the result; it is not ended. The program waits for a slow one. */
  stdout?: Writable
  /** The same for what it writes as errors. */
  stderr?: Writable
  /** Bytes of each output that are collected at most; the program is killed if there is more. 1 MiB unless told. */
  maxBuffer?: number
  /** Of the text in the result: `'utf8'` unless told. */
  encoding?: BufferEncoding
}

/** What became of a program that has run in a guest. */
export interface ExecResult extends GuestExit {
  /** What it wrote, as text; empty if a stream took it. */
  readonly stdout: string
  /** What it wrote as errors, as text; empty if a stream took it. */
  readonly stderr: string
}

const MAX_BUFFER = 2 ** 20

/** @throws VmmError `ERR_INVALID_OPTION` */
export function checkExecOptions(options: ExecOptions): void {
  const { stdin, maxBuffer = MAX_BUFFER, encoding = 'utf8', stdout, stderr } = options
  if (!Number.isInteger(maxBuffer) || maxBuffer < 0 || maxBuffer > 2 ** 29) {
    throw invalidOption('maxBuffer', maxBuffer, 'bytes, from 0 to 536870912')
  }
  if (!Buffer.isEncoding(encoding)) throw invalidOption('encoding', encoding, "such as 'utf8'")
  const text = stdin === undefined || typeof stdin === 'string' || stdin instanceof Uint8Array
  if (!text && typeof (stdin as Readable | null)?.pipe !== 'function') {
    throw invalidOption('stdin', stdin, 'a string, bytes or a readable stream')
  }
  for (const [name, stream] of Object.entries({ stdout, stderr })) {
    if (stream !== undefined && typeof stream?.write !== 'function') {
      throw invalidOption(name, stream, 'a writable stream')
    }
  }
}

/** Gives a process its input and takes its outputs until it has ended. */
export async function runProcess(process: GuestProcess, options: ExecOptions): Promise<ExecResult> {
  const { stdin = '', maxBuffer = MAX_BUFFER, encoding = 'utf8' } = options
  const given = feed(process.stdin, stdin)
  const outputs = [
    drain('stdout', process.stdout, options.stdout, maxBuffer),
    drain('stderr', process.stderr, options.stderr, maxBuffer),
  ]
  const failed = Promise.all([given, ...outputs]).then(() => process.closed)
  // First what says why the outputs may have ended early.
  const exit = await Promise.race([process.closed, failed])
  const [stdout = '', stderr = ''] = await Promise.all(
    outputs.map(async (output) => (await output).toString(encoding)),
  )
  return { ...exit, stdout, stderr }
}

/** A program need not read all of it: only what the source throws is an error. */
async function feed(stdin: Writable, source: string | Uint8Array | Readable): Promise<void> {
  stdin.on('error', () => {})
  if (typeof source === 'string' || source instanceof Uint8Array) {
    stdin.end(source)
    return
  }
  let fault: unknown
  source.once('error', (error) => {
    fault = error
  })
  await pipeline(source, stdin).catch(() => {})
  if (fault) throw fault
}

async function drain(
  name: string,
  output: Readable,
  into: Writable | undefined,
  maxBuffer: number,
): Promise<Buffer> {
  if (into) {
    await pour(output, into)
    return Buffer.alloc(0)
  }
  return collect(name, output, 'maxBuffer', maxBuffer)
}

/** Resolves when `into` has taken all: `pipeline` that is not to end it does not wait for what it still holds. */
async function pour(output: Readable, into: Writable): Promise<void> {
  const passed = new Writable({
    write: (chunk, encoding, done) => {
      into.write(chunk, encoding, done)
    },
  })
  const release = finished(into, (error) => {
    passed.destroy(error ?? new Error('the stream was ended'))
  })
  try {
    await pipeline(output, passed)
  } finally {
    release()
  }
}
