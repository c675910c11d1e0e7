import { rename, rm, stat } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { invalidOption, VmmError } from '../errors.js'
import type { AgentConnection } from './agent-connection.js'
import type { AgentLink } from './agent-link.js'
import { copyFileIn, copyFileOut } from './copy-file.js'
import {
  type CopyInOptions,
  type CopyOutOptions,
  CopyProgress,
  type CopySummary,
  checkBound,
  LINKS,
} from './copy-options.js'
import { copyTreeIn, copyTreeOut } from './copy-tree.js'
import { checkExecOptions, type ExecOptions, type ExecResult, runProcess } from './exec.js'
import { encodeExec, type SpawnOptions } from './exec-request.js'
import {
  collectFile,
  type GuestSide,
  isDirectory,
  pathRequest,
  writeFile,
} from './file-operations.js'
import { GuestProcess } from './guest-process.js'
import { Limit, type LimitOptions } from './limit.js'
import { READ } from './protocol.js'

/** How a file of the guest's is read. */
export interface ReadFileOptions extends LimitOptions {
  /** Bytes that the file may have. 16 MiB unless told. */
  maxBytes?: number
}

/** How a file of the guest's is written. */
export interface WriteFileOptions extends LimitOptions {
  /** Permission bits: 0o644 unless told. */
  mode?: number
}

const MAX_BYTES = 16 * 2 ** 20

/**
 * The agent in a guest: runs programs there and copies files and folders.
 *
 * Every method waits for the agent to connect first, for at most the machine's `agent.startTimeout`, and rejects with
 * - `ERR_AGENT` if there is none by then, if it is lost, or if the machine ends; `ERR_AGENT_VERSION` if it is of another
 *   version; `ERR_AGENT_PROTOCOL` if it breaks the protocol
 * - `ERR_TIMEOUT` after `timeout` milliseconds, and the reason of `signal`, whatever the guest does or does not
 * - `ERR_INVALID_OPTION` for what cannot be asked for
 *
 * Options are read once, before anything is done.
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
    const given = { ...options }
    const request = encodeExec(argv, given)
    const name = argv[0] ?? ''
    return await this.#limited(`start of ${JSON.stringify(name)}`, given, (connection, limit) =>
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
    const given = { ...options }
    const request = encodeExec(argv, given)
    checkExecOptions(given)
    const name = argv[0] ?? ''
    return await this.#limited(
      `exec of ${JSON.stringify(name)}`,
      given,
      async (connection, limit) => {
        const process = await startProcess(connection, limit, name, request)
        try {
          return await limit.race(runProcess(process, given))
        } finally {
          process.close()
        }
      },
    )
  }

  /**
   * Gives what is in a file of the guest's.
   * @throws VmmError `ERR_GUEST_FILE` for what is no regular file, or cannot be read; `ERR_MAX_BUFFER`
   */
  async readFile(path: string, options: ReadFileOptions = {}): Promise<Buffer> {
    const { maxBytes = MAX_BYTES, ...limits } = options
    checkBound('maxBytes', maxBytes)
    const request = pathRequest(path)
    return await this.#limited(`reading ${JSON.stringify(path)}`, limits, (connection, limit) =>
      collectFile({ connection, limit }, READ, path, request, maxBytes),
    )
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
    const { mode = 0o644, ...limits } = options
    checkMode(mode)
    pathRequest(path)
    const source =
      data instanceof Readable ? data : Readable.from([Buffer.from(data as Uint8Array)])
    await this.#limited(`writing ${JSON.stringify(path)}`, limits, (connection, limit) =>
      writeFile({ connection, limit }, path, source, mode),
    )
  }

  /**
   * Whether a path of the guest's is a folder, or a symbolic link to one. What is not there is none.
   * @throws VmmError `ERR_GUEST_FILE` if it cannot be told
   */
  async isDirectory(path: string, options: LimitOptions = {}): Promise<boolean> {
    pathRequest(path)
    return await this.#limited(`looking at ${JSON.stringify(path)}`, options, (connection, limit) =>
      isDirectory({ connection, limit }, path),
    )
  }

  /**
   * Copies a file of this machine's into the guest, or with `recursive` a folder and all that is in it.
   *
   * Each file is there whole or not at all. A folder is merged into one that is there already: files and links take the
   * place of others by their names. Symbolic links are copied as links and never followed, but for `from` itself.
   * @param from a path here
   * @param to what it is to be called in the guest, not where it is to be put
   * @throws VmmError `ERR_GUEST_FILE`; `ERR_MAX_BUFFER` beyond `maxEntries` or `maxBytes`; Node's own error for what
   *   cannot be read here, such as `EISDIR` for a folder without `recursive`
   * @example
   * ```ts
   * await vm.copyIn('build', '/srv/app', { recursive: true, timeout: 60_000 })
   * ```
   */
  async copyIn(from: string, to: string, options: CopyInOptions = {}): Promise<CopySummary> {
    const given = { ...options }
    const { mode, recursive } = given
    if (mode !== undefined) checkMode(mode)
    const progress = new CopyProgress(given)
    pathRequest(to)
    return await this.#copying(`copying to ${JSON.stringify(to)}`, given, async (guest) => {
      const isFolder = recursive === true && (await stat(from)).isDirectory()
      if (isFolder) await copyTreeIn(guest, from, to, progress)
      else await copyFileIn(guest, from, to, mode, progress)
      return progress.summary
    })
  }

  /**
   * Copies a file of the guest's to this machine, or with `recursive` a folder and all that is in it: whole or not at
   * all, with the guest's permission bits but for set-user-ID and its like.
   *
   * No name that the guest tells leads out of `to`, whatever its agent says. Symbolic links are copied as links and
   * never followed, but for `from` itself; those that lead out of the folder are refused unless `links` says otherwise.
   * @param from a path in the guest
   * @param to what it is to be called here; for a folder, nothing or an empty folder may be there
   * @throws VmmError `ERR_GUEST_FILE`; `ERR_MAX_BUFFER` beyond `maxEntries` or `maxBytes`; Node's own error for what
   *   cannot be written here
   */
  async copyOut(from: string, to: string, options: CopyOutOptions = {}): Promise<CopySummary> {
    const given = { ...options }
    const { links = 'inside', recursive } = given
    if (!LINKS.includes(links)) throw invalidOption('links', links, `one of ${LINKS.join(', ')}`)
    const progress = new CopyProgress(given)
    pathRequest(from)
    // Beside its place, so that it gets there by its name alone.
    const temporary = `${to}.node-kvm-${process.pid}-${nextTemporary++}`
    try {
      return await this.#copying(`copying ${JSON.stringify(from)}`, given, async (guest) => {
        const isFolder = recursive === true && (await isDirectory(guest, from))
        if (isFolder) await copyTreeOut(guest, from, temporary, links, progress)
        else await copyFileOut(guest, from, temporary, progress)
        await rename(temporary, to)
        return progress.summary
      })
    } finally {
      await rm(temporary, { recursive: true, force: true })
    }
  }

  /** Waits for the last step on this machine too, when a limit is reached: whoever tidies up is the last then. */
  async #copying<T>(
    what: string,
    options: LimitOptions,
    work: (guest: GuestSide) => Promise<T>,
  ): Promise<T> {
    let working: Promise<unknown> | undefined
    try {
      return await this.#limited(what, options, (connection, limit) => {
        const copied = work({ connection, limit })
        working = copied
        return copied
      })
    } finally {
      await working?.catch(() => {})
    }
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

function checkMode(mode: number): void {
  if (Number.isInteger(mode) && mode >= 0 && mode <= 0o7777) return
  throw invalidOption('mode', mode, 'permission bits from 0 to 0o7777')
}
