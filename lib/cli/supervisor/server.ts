import { chmodSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import type { VirtualMachine } from '../../index.js'
import { isAlive } from './client.js'
import { inspectMachine } from './inspect.js'
import {
  type Answer,
  type CopyReport,
  type MachineStatus,
  parseRequest,
  REQUEST_MAX,
  type Request,
  readLine,
  type StopAnswer,
} from './protocol.js'
import { openRuntimeDirectory, socketPath } from './runtime-directory.js'

const CONNECTIONS_MAX = 16
/** Milliseconds for a client to say what it wants. */
const REQUEST_TIMEOUT = 10_000
/** Bytes of console output kept for a client that does not read; then it is let go. */
const CONSOLE_BACKLOG = 2 ** 20

/**
 * A socket by which this user's other processes see a running machine, its console and its end.
 * It keeps nothing alive, and the machine waits for none of its clients.
 */
export class SupervisorServer {
  readonly #vm: VirtualMachine
  readonly #name: string
  readonly #path: string
  readonly #server: Server
  readonly #clients = new Set<Socket>()
  readonly #started = new Date().toISOString()

  private constructor(vm: VirtualMachine, name: string, path: string) {
    this.#vm = vm
    this.#name = name
    this.#path = path
    this.#server = createServer((socket) => this.#accept(socket))
    this.#server.maxConnections = CONNECTIONS_MAX
  }

  /**
   * @throws VmmError `ERR_INVALID_OPTION` for what is no name; Error if a machine of that name runs
   */
  static async open(vm: VirtualMachine, name: string): Promise<SupervisorServer> {
    const path = socketPath(openRuntimeDirectory(), name)
    const supervisor = new SupervisorServer(vm, name, path)
    if (await isAlive(path)) throw new Error(`a machine called ${name} is running`)
    rmSync(path, { force: true })
    await supervisor.#listen()
    return supervisor
  }

  close(): void {
    this.#server.close()
    for (const client of this.#clients) client.destroy()
    rmSync(this.#path, { force: true })
  }

  #listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(this.#path, () => {
        chmodSync(this.#path, 0o600)
        this.#server.unref()
        resolve()
      })
    })
  }

  #accept(socket: Socket): void {
    this.#clients.add(socket.unref())
    // Whatever befalls a client is its own affair.
    socket.on('error', () => socket.destroy())
    socket.on('close', () => this.#clients.delete(socket))
    readLine(socket, REQUEST_MAX, REQUEST_TIMEOUT)
      .then((line) => this.#serve(socket, line))
      .catch((error: Error) => this.#refuse(socket, error.message))
  }

  async #serve(socket: Socket, line: string): Promise<void> {
    const request = parseRequest(line)
    if (request === undefined) throw new Error('the request is not understood')
    if (request.method === 'console') {
      this.#attach(socket)
      return
    }
    if (request.method === 'exec') {
      const { serveExec } = await import('./exec-server.js')
      await serveExec(this.#vm, socket, request, () => send(socket, { result: null }))
      return
    }
    if (request.method === 'copy') {
      const { serveCopy } = await import('./copy-server.js')
      await serveCopy(this.#vm, socket, request, (line) => send(socket, line))
      return
    }
    const result = await this.#answer(request)
    send(socket, { result })
    socket.end()
  }

  async #answer(
    request: Exclude<Request, { method: 'console' | 'exec' | 'copy' }>,
  ): Promise<unknown> {
    if (request.method === 'stop') return await this.#stop(request)
    const status = this.#status()
    return request.method === 'status' ? status : { ...status, ...inspectMachine(this.#vm) }
  }

  #status(): MachineStatus {
    const { config, state } = this.#vm
    const { cpus, memory } = config
    const kernel = config.kernel ?? config.firmware!.image
    return {
      name: this.#name,
      pid: process.pid,
      state,
      started: this.#started,
      kernel: typeof kernel === 'string' ? kernel : `${kernel.length} bytes`,
      cpus,
      memory,
    }
  }

  /** The power button first, unless forced; what has not ended by then is ended. */
  async #stop({ force, timeout }: { force: boolean; timeout: number }): Promise<StopAnswer> {
    const isRunning = this.#vm.state === 'running'
    if (isRunning && !force) await this.#vm.shutdown({ timeout }).catch(() => {})
    await this.#vm.stop()
    const { kind } = await this.#vm.stopped
    return { reason: kind }
  }

  #attach(socket: Socket): void {
    const { output, input } = this.#vm.console
    send(socket, { result: null })
    const onData = (bytes: Buffer | string) => {
      socket.write(bytes)
      if (socket.writableLength > CONSOLE_BACKLOG) socket.destroy()
    }
    const onEnd = () => socket.end()
    output.on('data', onData).on('end', onEnd)
    socket.on('close', () => output.off('data', onData).off('end', onEnd))
    socket.on('data', (typed) => {
      if (input.destroyed || input.write(typed)) return
      socket.pause()
      input.once('drain', () => socket.resume())
    })
  }

  #refuse(socket: Socket, error: string): void {
    if (socket.writable) send(socket, { error })
    socket.end()
  }
}

function send(socket: Socket, answer: Answer | CopyReport): void {
  socket.write(`${JSON.stringify(answer)}\n`)
}
