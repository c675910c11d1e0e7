import type { BlockBackend } from '../../backends/block/block-backend.js'
import type { NetBackend } from '../../backends/net/net-backend.js'
import { invalidOption, VmmError } from '../../errors.js'
import type { Answer } from '../../isolation/channel.js'
import type { ChannelStream } from '../../isolation/channel-stream.js'
import type { Content } from '../../isolation/frames.js'
import { violation } from '../../isolation/frames.js'
import type { Cleanup } from '../../util/cleanup.js'
import { DiskServer } from './disk-server.js'
import { NetServer } from './net-server.js'
import type { ServedDiskForm, ServedNetForm } from './protocol.js'

/** What the program serves to its machine's process: disks and network backends that only it can have. */
export class BackendServers {
  readonly #tell: (name: string, value: unknown) => void
  readonly #disks: DiskServer[] = []
  readonly #nets: NetServer[] = []

  /** @param tell sends a message to the machine's process */
  constructor(tell: (name: string, value: unknown) => void) {
    this.#tell = tell
  }

  /** Serves an open disk. */
  disk(backend: BlockBackend, cleanup: Cleanup): ServedDiskForm {
    const served = this.#disks.length
    const resized = () => this.resized(served, backend.capacity)
    const server = new DiskServer(backend, resized)
    this.#disks.push(server)
    cleanup.own(server)
    const { name, capacity, readOnly, id, discards = false, writesZeroes = false } = backend
    const { logicalBlockSize = 512, physicalBlockSize = 512 } = backend.geometry ?? {}
    return {
      ...{ served, name, capacity, readOnly, id, discards, writesZeroes },
      ...{ logicalBlockSize, physicalBlockSize },
    }
  }

  /** Serves an open network backend. */
  net(backend: NetBackend, cleanup: Cleanup): ServedNetForm {
    if (backend.ringServer?.required) {
      const expected = "false or 'auto' for a machine in a process of its own"
      throw invalidOption('vhost', true, expected)
    }
    const served = this.#nets.length
    const server = new NetServer(backend, (up) => this.#tell('net.link', { net: served, up }))
    this.#nets.push(server)
    cleanup.own(server)
    const { name, mac, mtu } = backend
    return { served, name, mac, ...(mtu !== undefined && { mtu }) }
  }

  /** A disk's capacity has changed: by its number if it is served, else by its device's name. */
  resized(disk: number | string, capacity: number): void {
    this.#tell('disk.resized', { disk, capacity })
  }

  /** @throws VmmError for what is no request */
  request(name: string, content: Content): Promise<Answer> {
    const { disk } = (content.value ?? {}) as { disk?: unknown }
    const server = this.#disks[disk as number]
    if (server === undefined) return Promise.reject(violation('a request to no disk'))
    return server.request(name, content)
  }

  /** The machine's process is ready for a card's frames. */
  opened({ value }: Content, stream: ChannelStream): void {
    const server = this.#nets[(value as { net?: number } | undefined)?.net ?? -1]
    if (server === undefined) throw new VmmError('ERR_ISOLATION', 'a stream to no network')
    server.connect(stream)
  }
}
