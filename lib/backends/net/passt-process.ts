import { type ChildProcess, spawn } from 'node:child_process'
import type { Duplex } from 'node:stream'
import { VmmError } from '../../errors.js'
import { FrameStream } from './frame-stream.js'

/** How a passt ended. */
export interface PasstExit {
  /** Its exit status, if it ended by itself. */
  readonly code: number | null
  /** What ended it, otherwise. */
  readonly signal: NodeJS.Signals | null
  /** The end of what it wrote to its standard error. */
  readonly stderr: string
}

/** passt has taken its socket if it answers, or else if it has lived that long. */
const READY_MILLISECONDS = 3000
/** How long it may take to end when asked to. */
const TERM_MILLISECONDS = 2000
const STDERR_MAX = 4096

/** One passt process, and the socket to it. */
export class PasstProcess {
  /** Over our end of the socket pair that passt has as descriptor 3. */
  readonly frames: FrameStream
  /** Takes what comes, as {@link FrameStreamEvents.frame}. */
  onFrame: (frame: Uint8Array) => boolean = () => true
  /** Resolves when it has ended, however that came about. */
  readonly ended: Promise<PasstExit>
  readonly #child: ChildProcess
  #stderr = ''

  private constructor(child: ChildProcess) {
    this.#child = child
    const socket = child.stdio[3] as Duplex
    this.frames = new FrameStream(socket, {
      frame: (frame) => this.onFrame(frame),
      // A passt that has closed its socket, or talks nonsense, is of no more use.
      ended: () => void this.stop(),
    })
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_MAX)
    })
    child.on('error', () => {}) // of a signal that could not be sent: its end shows by itself
    this.ended = new Promise((resolve) => {
      child.once('close', (code, signal) => {
        resolve({ code, signal, stderr: messages(this.#stderr) })
      })
    })
    // What is running keeps the process, not what it is connected to.
    child.unref()
    for (const stream of [socket, child.stderr]) (stream as { unref?(): void }).unref?.()
  }

  /**
   * Starts passt and waits until it serves.
   * @throws VmmError `ERR_MISSING_PROGRAM` if it is not installed
   * @throws VmmError `ERR_NET` with its own words if it does not start
   */
  static async start(program: string, args: readonly string[]): Promise<PasstProcess> {
    const child = spawn(program, ['--foreground', '--quiet', '--fd', '3', ...args], {
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    })
    const spawned = new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve)
      child.once('error', reject)
    })
    try {
      await spawned
    } catch (cause) {
      throw spawnTrouble(program, cause)
    }
    const process = new PasstProcess(child)
    await process.#ready(program, args)
    return process
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  /** Ends it, and waits until it has ended. */
  async stop(): Promise<void> {
    this.frames.close()
    this.#child.kill()
    const kill = setTimeout(() => this.#child.kill('SIGKILL'), TERM_MILLISECONDS)
    await this.ended
    clearTimeout(kill)
  }

  /** passt answers any question of ARP: the first answer shows that it is up. */
  async #ready(program: string, args: readonly string[]): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const answered = new Promise<undefined>((resolve) => {
      this.onFrame = () => {
        resolve(undefined)
        return true
      }
      timer = setTimeout(() => resolve(undefined), READY_MILLISECONDS)
    })
    this.frames.send(probe())
    const exit = await Promise.race([answered, this.ended])
    clearTimeout(timer)
    this.onFrame = () => true
    if (!exit) return
    const { code, signal, stderr } = exit
    const how = signal === null ? `status ${code}` : signal
    const what = `passt ended with ${how}${stderr === '' ? '' : `: ${stderr}`}`
    throw new VmmError('ERR_NET', `${what}: expected it to start`, {
      option: 'args',
      value: [program, ...args],
      expected: 'options that passt can start with on this host',
    })
  }
}

/** Who has 169.254.0.1? Asked from no address of anybody's, so that nothing is learnt from it. */
function probe(): Uint8Array {
  const mac = [0x02, 0, 0, 0, 0, 0x01]
  return Uint8Array.from([
    ...Array(6).fill(0xff),
    ...mac,
    ...[0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1],
    ...mac,
    ...[0, 0, 0, 0],
    ...Array(6).fill(0),
    ...[169, 254, 0, 1],
  ])
}

/** Without the words of a passt that finds no syslog. */
function messages(stderr: string): string {
  return stderr
    .split('\n')
    .filter((line) => line.trim() !== '' && !line.startsWith('Failed to send'))
    .join('; ')
}

function spawnTrouble(program: string, cause: unknown): unknown {
  const { code, message } = cause as NodeJS.ErrnoException
  if (code !== 'ENOENT') {
    return new VmmError('ERR_NET', `${program} cannot be started: ${message}`, {
      option: 'program',
      value: program,
      cause,
    })
  }
  const expected = 'the Debian package passt: `apt-get install passt`'
  return new VmmError('ERR_MISSING_PROGRAM', `${program} is not installed: expected ${expected}`, {
    option: 'program',
    value: program,
    expected,
    cause,
  })
}
