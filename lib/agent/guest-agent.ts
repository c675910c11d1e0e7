import { createReadStream } from 'node:fs'
import { open, rename, rm, writeFile } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { invalidOption, VmmError } from '../errors.js'
import type { AgentConnection } from './agent-connection.js'
import type { AgentLink } from './agent-link.js'
import { checkExecOptions, type ExecOptions, type ExecResult, runProcess } from './exec.js'
import { checkRequest, checkString, encodeExec, type SpawnOptions } from './exec-request.js'
import { GuestFile } from './guest-file.js'
import { GuestProcess } from './guest-process.js'
import { Limit, type LimitOptions } from './limit.js'
import { encodeWords } from './protocol.js'

/** How a file of the guest's is read. */
export interface ReadFileOptions extends LimitOptions {
  /** Bytes that the file may have. 16 MiB unless told. */
  maxBytes?: number
}

/** How a file of the guest's is written. */
export interface WriteFileOptions extends LimitOptions {
  /** Permission bits: 0o644, or of a file that is copied its own, unless told. */
  mode?: number
}

const MAX_BYTES = 16 * 2 ** 20

/**
 * The agent in a guest: runs programs there and copies files.
 *
 * Every method waits for the agent to connect first, for at most the machine's `agent.startTimeout`, and rejects with
 * - `ERR_AGENT` if there is none by then, if it is lost, or if the machine ends; `ERR_AGENT_VERSION` if it is of another
 *   version; `ERR_AGENT_PROTOCOL` if it breaks the protocol
 * - `ERR_TIMEOUT` after `timeout` milliseconds, and the reason of `signal`, whatever the guest does or does not
 * - `ERR_INVALID_OPTION` for what cannot be asked for
 */
export class GuestAgent {
  readonly #link: AgentLink
  readonly #startTimeout: number

  /** @internal */
  constructor(link: AgentLink, startTimeout: number) {
    this.#link = link
    this.#startTimeout = startTimeout
  }

  /** Whether it can be talked to now. */
  get connected(): boolean {
    return this.#link.connected
  }

  /** Resolves when the agent has connected and answers. */
  async ping(options: LimitOptions = {}): Promise<void> {
    await this.#limited('ping', options, async (connection) => connection.ping())
  }

  /**
   * Starts a program and gives it as streams, for whoever wants to talk with it.
   * @param argv the program, which is looked for in `PATH` if it has no slash, and its arguments
   * @param options `timeout` and `signal` limit its start only
   * @throws VmmError `ERR_EXEC` if it cannot be started; `cause.code` is the guest's errno, such as `'ENOENT'`
   */
  async spawn(
    argv: readonly string[],
    options: SpawnOptions & LimitOptions = {},
  ): Promise<GuestProcess> {
    const request = encodeExec(argv, options)
    const name = argv[0] ?? ''
    return await this.#limited(`start of ${JSON.stringify(name)}`, options, (connection, limit) =>
      startProcess(connection, limit, name, request),
    )
  }

  /**
   * Runs a program to its end. It is killed when a limit is reached.
   * @throws VmmError `ERR_EXEC` as {@link spawn}; `ERR_MAX_BUFFER` if it writes more than is to be collected.
   *   An exit code other than 0 is no error.
   * @example
   * ```ts
   * const { stdout, exitCode } = await vm.exec(['uname', '-a'], { timeout: 5000 })
   * ```
   */
  async exec(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    const request = encodeExec(argv, options)
    checkExecOptions(options)
    const name = argv[0] ?? ''
    return await this.#limited(
      `exec of ${JSON.stringify(name)}`,
      options,
      async (connection, limit) => {
        const process = await startProcess(connection, limit, name, request)
        try {
          return await limit.race(runProcess(process, options))
        } finally {
          process.close()
        }
      },
    )
  }

  /** @throws VmmError `ERR_GUEST_FILE` for what is no regular file, or cannot be read; `ERR_MAX_BUFFER` */
  async readFile(path: string, options: ReadFileOptions = {}): Promise<Buffer> {
    const { maxBytes = MAX_BYTES } = options
    if (!Number.isInteger(maxBytes) || maxBytes < 0) {
      throw invalidOption('maxBytes', maxBytes, 'a whole number of at least 0')
    }
    const chunks: Buffer[] = []
    let length = 0
    await this.#read(path, options, async (file) => {
      for await (const chunk of file.output as AsyncIterable<Buffer>) {
        chunks.push(chunk)
        length += chunk.length
        if (length <= maxBytes) continue
        const message = `${JSON.stringify(path)}: more than ${maxBytes} bytes`
        throw new VmmError('ERR_MAX_BUFFER', message, { option: 'maxBytes', value: maxBytes })
      }
    })
    return Buffer.concat(chunks)
  }

  /**
   * Writes a file of the guest's. It is there whole or not at all: it takes the place of one that was there before, and
   * of a symbolic link, not of what that points to.
   * @throws VmmError `ERR_GUEST_FILE`
   */
  async writeFile(
    path: string,
    data: string | Uint8Array | Readable,
    options: WriteFileOptions = {},
  ): Promise<void> {
    const { mode = 0o644 } = options
    if (!Number.isInteger(mode) || mode < 0 || mode > 0o7777) {
      throw invalidOption('mode', mode, 'permission bits from 0 to 0o7777')
    }
    const request = pathRequest(path, encodeWords(mode))
    await this.#limited(`writing ${JSON.stringify(path)}`, options, async (connection, limit) => {
      const file = new GuestFile(connection, path, request, true)
      try {
        await limit.race(file.opened.promise)
        const source =
          data instanceof Readable ? data : Readable.from([Buffer.from(data as Uint8Array)])
        const sent = pipeline(source, file.input)
        // What the agent says failed, rather than that its stream has ended early.
        await limit.race(Promise.all([settleFirst(sent, file.done.promise), file.done.promise]))
      } finally {
        file.close()
      }
    })
  }

  /**
   * Copies a file of this machine's into the guest.
   * @throws VmmError `ERR_GUEST_FILE`; Node's own error if `from` cannot be read
   */
  async copyIn(from: string, to: string, options: WriteFileOptions = {}): Promise<void> {
    await using source = await open(from, 'r')
    const mode = options.mode ?? (await source.stat()).mode & 0o777
    const content = createReadStream('', { fd: source, autoClose: false })
    await this.writeFile(to, content, { ...options, mode })
  }

  /**
   * Copies a file of the guest's to this machine, whole or not at all, with the guest's permission bits but for
   * set-user-ID and its like.
   * @throws VmmError `ERR_GUEST_FILE`; Node's own error if `to` cannot be written
   */
  async copyOut(from: string, to: string, options: LimitOptions = {}): Promise<void> {
    const temporary = `${to}.node-kvm-${process.pid}-${nextTemporary++}`
    try {
      await this.#read(from, options, async (file, mode) => {
        await using target = await open(temporary, 'wx', 0o600)
        await writeFile(target, file.output)
        await target.chmod(mode & 0o777)
      })
      await rename(temporary, to)
    } finally {
      await rm(temporary, { force: true })
    }
  }

  async #read(
    path: string,
    options: LimitOptions,
    take: (file: GuestFile, mode: number) => Promise<void>,
  ): Promise<void> {
    const request = pathRequest(path)
    await this.#limited(`reading ${JSON.stringify(path)}`, options, async (connection, limit) => {
      const file = new GuestFile(connection, path, request, false)
      try {
        const mode = await limit.race(file.opened.promise)
        const taken = take(file, mode)
        await limit.race(Promise.all([settleFirst(taken, file.done.promise), file.done.promise]))
      } finally {
        file.close()
      }
    })
  }

  async #limited<T>(
    what: string,
    options: LimitOptions,
    work: (connection: AgentConnection, limit: Limit) => Promise<T>,
  ): Promise<T> {
    using limit = new Limit(what, options)
    const connection = await limit.race(this.#connection())
    return await limit.race(work(connection, limit))
  }

  async #connection(): Promise<AgentConnection> {
    const timeout = this.#startTimeout
    using limit = new Limit('the agent', { timeout })
    try {
      return await limit.race(this.#link.connection())
    } catch (error) {
      if (!(error instanceof VmmError) || error.code !== 'ERR_TIMEOUT') throw error
      const message = `no agent in the guest has connected within ${timeout} ms`
      const expected = 'node-kvm-agent to run in the guest, and the driver of virtio-vsock'
      throw new VmmError('ERR_AGENT', `${message}: expected ${expected}`, { expected })
    }
  }
}

let nextTemporary = 0

async function startProcess(
  connection: AgentConnection,
  limit: Limit,
  name: string,
  request: Uint8Array,
): Promise<GuestProcess> {
  const process = new GuestProcess(connection, name, request)
  try {
    await limit.race(process.started)
    return process
  } catch (error) {
    process.close()
    throw error
  }
}

function pathRequest(path: string, before: Uint8Array = new Uint8Array(0)): Buffer {
  if (checkString('path', path) === '' || Buffer.byteLength(path) > 4095) {
    throw invalidOption('path', path, 'a path of 1 to 4095 bytes')
  }
  return checkRequest('path', Buffer.concat([before, Buffer.from(`${path}\0`)]))
}

/** `work`, unless `done` rejects first or because of the same thing: then what `done` rejects with. */
async function settleFirst(work: Promise<void>, done: Promise<void>): Promise<void> {
  try {
    await work
  } catch (error) {
    await Promise.race([done, new Promise((resolve) => setImmediate(resolve))])
    throw error
  }
}
