import type { Duplex } from 'node:stream'
import type { GdbServer, ListenAddress } from '../debug/gdb-server.js'
import { invalidOption, VmmError } from '../errors.js'
import * as check from './option-checks.js'

/** Where {@link VmGdb.listen} waits for GDB. */
export interface GdbListenOptions {
  /** A TCP port, from 0 to 65535; 0 for a free one. Either this or `path`. */
  port?: number
  /** The address of the host that `port` is at. `'127.0.0.1'` unless told: who connects owns the guest. */
  host?: string
  /** The path of a Unix socket to make, which goes with the machine. */
  path?: string
  /** Keep the guest from running until a client lets it go on. `false` unless told. */
  wait?: boolean
}

/** What of a machine its GDB stub needs. */
export interface GdbStub {
  /** Speaks with a client until it leaves; without its breakpoints the guest goes on then. */
  serve(stream: Duplex): Promise<void>
  /** Keeps the guest from running, and lets it go on. */
  hold(): Promise<void>
  /** Lets the guest go on that waited for a debugger. */
  release(): void
}

/** Where GDB is to connect to: `target remote HOST:PORT`, `target remote PATH`. */
export type GdbAddress = ListenAddress

const checkOptions = check.object({
  port: check.optional(check.integer(0, 65535)),
  host: check.withDefault(
    check.value<string>('an address', (value) => typeof value === 'string' && value !== ''),
    '127.0.0.1',
  ),
  path: check.optional(
    check.value<string>('a path of 1 to 107 bytes', (value) => {
      const length = typeof value === 'string' ? Buffer.byteLength(value) : 0
      return length > 0 && length <= 107
    }),
  ),
  wait: check.withDefault(check.boolean, false),
})

/**
 * A machine's GDB stub.
 *
 * GDB sees each vCPU as a thread, and memory by virtual address, as the page tables of the chosen vCPU have it; where
 * nothing or a device is mapped, it gets an error. While a client is connected it decides when the guest runs, together
 * with `pause()` and `resume()`: the guest runs if neither holds it. When the client leaves, in whatever way, its
 * breakpoints are removed and the guest goes on.
 *
 * Hardware breakpoints and watchpoints are there if the host's KVM has them; in an emulated host it has not.
 */
export class VmGdb {
  readonly #stub: GdbStub
  #server: GdbServer | undefined
  #closed = false

  /** @internal */
  constructor(stub: GdbStub) {
    this.#stub = stub
  }

  /** @internal */
  get stub(): GdbStub {
    return this.#stub
  }

  /**
   * Waits for a client, one at a time; another is refused meanwhile. Ends with the machine.
   *
   * @example
   * ```ts
   * const { port } = await vm.gdb.listen({ port: 0, wait: true })
   * // gdb vmlinux -ex "target remote :PORT"
   * ```
   * @throws VmmError `ERR_INVALID_OPTION` naming the option, also for an address that cannot be had; `ERR_STATE` if this
   *   listens already; `ERR_CLOSED`
   */
  async listen(options: GdbListenOptions): Promise<GdbAddress> {
    const { port, host, path, wait } = checkOptions(options, 'gdb')
    if ((port === undefined) === (path === undefined)) {
      throw invalidOption('gdb', options, 'either a port or a path')
    }
    // Loaded when it is asked for, as hardly any machine is debugged.
    const { GdbServer } = await import('../debug/gdb-server.js')
    if (this.#closed) throw new VmmError('ERR_CLOSED', 'the machine is closed')
    if (this.#server) throw new VmmError('ERR_STATE', 'the stub listens already')
    const server = new GdbServer((stream) => this.#stub.serve(stream))
    this.#server = server
    try {
      const address = await server.listen(path === undefined ? { host, port: port! } : { path })
      if (wait) await this.#stub.hold()
      return address
    } catch (cause) {
      this.#server = undefined
      const [option, value] = path === undefined ? ['gdb.port', port] : ['gdb.path', path]
      const message = `${option}: cannot listen there: ${(cause as Error).message}`
      throw new VmmError('ERR_INVALID_OPTION', message, { option, value, cause })
    }
  }

  /** Stops listening and disconnects the client, which leaves the guest running. Does nothing if there is nothing to do. */
  async close(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (server === undefined) return
    await server.close()
    // It may wait for the client that never came.
    this.#stub.release()
  }

  /** The machine closes. */
  async end(): Promise<void> {
    this.#closed = true
    await this.close()
  }
}
