import { closeSync, readSync, writeSync } from 'node:fs'
import { resolve } from 'node:path'
import { FileDisk } from '../../backends/block/file-disk.js'
import type { HandedDisk } from '../../backends/block/inherited-disk.js'
import { OpenBackend } from '../../backends/block/open-backend.js'
import { type HandedTap, Tap } from '../../backends/net/tap.js'
import { binding } from '../../binding.js'
import { invalidOption } from '../../errors.js'
import type { GuestMemory } from '../../memory/guest-memory.js'
import type { MappedGuestMemory } from '../../memory/mapping.js'
import type { Cleanup } from '../../util/cleanup.js'
import { blameOption } from '../blame-option.js'
import type { DiskConfig, NetConfig } from '../device-options.js'
import { createGuestRam } from '../guest-ram.js'
import type { MachineConfig } from '../machine-config.js'
import type { MemoryBacking } from '../memory-options.js'
import { openBackend } from '../open-backends.js'
import type { BackendServers } from './backend-servers.js'
import { toJsonForm } from './json-form.js'
import type { MachineFiles } from './machine-process.js'
import { CHANNEL_FD, type DiskForm, type NetForm } from './protocol.js'

/** A machine's configuration, made ready for a process that may open next to nothing. */
export interface Shipment {
  /** As JSON: what `create` is asked with. */
  readonly form: unknown
  readonly fds: readonly number[]
  readonly files: MachineFiles
  /** The guest's memory, if it is a kind that processes share. */
  readonly memory: GuestMemory | undefined
}

/** What cannot be another process's, and why. */
const NEEDS = {
  attach: 'none with isolation, as devices of the program run in its own process',
} as const

/**
 * Opens the disks and network backends in this process, which has the rights to, and puts together what the machine's
 * own process is to be given.
 * @throws VmmError `ERR_INVALID_OPTION`; what a backend's `open()` throws
 */
export async function shipConfig(
  config: MachineConfig,
  servers: BackendServers,
  cleanup: Cleanup,
): Promise<Shipment> {
  if (config.attach.length > 0) throw invalidOption('attach', config.attach, NEEDS.attach)
  const shipper = new Shipper(servers, cleanup)
  const { signal: _, log: __, attach: ___, ...rest } = config
  const disks: DiskForm[] = []
  for (const [i, disk] of config.disks.entries()) {
    disks.push(await shipper.disk(disk, `disks[${i}]`, `block${i}`))
  }
  const nets: NetForm[] = []
  for (const [i, net] of config.nets.entries()) {
    nets.push(await shipper.net(net, `nets[${i}]`))
  }
  const { kernel, initrd, firmware, modules, shares, vsock } = config
  const variables = firmware?.variables
  const form = {
    ...rest,
    memoryBacking: shipper.ram(config),
    ...{ disks, nets, isolation: 'none', agent: undefined, attach: [] },
    kernel: kernel && shipper.image(kernel),
    initrd: initrd && shipper.image(initrd),
    firmware: firmware && {
      image: shipper.image(firmware.image),
      variables: variables && shipper.writable(variables),
    },
    modules: modules.map(({ image, commandLine }, i) => ({
      image: shipper.image(image),
      commandLine: commandLine ?? (typeof image === 'string' ? undefined : `modules[${i}]`),
    })),
    shares: shares.map((share) => ({
      ...share,
      path: shipper.path(share.path, share.readOnly ? 'read' : 'write'),
    })),
    vsock: vsock && { cid: vsock.cid },
  }
  const { fds, files, memory } = shipper
  return { form: toJsonForm(form), fds, files, memory }
}

class Shipper {
  memory: MappedGuestMemory | undefined
  readonly fds: number[] = []
  readonly files = { read: [] as string[], write: [] as string[] }
  readonly #servers: BackendServers
  readonly #cleanup: Cleanup

  constructor(servers: BackendServers, cleanup: Cleanup) {
    this.#servers = servers
    this.#cleanup = cleanup
  }

  /** Memory that is shared is made here, so that this process has it too. */
  ram(config: MachineConfig): MemoryBacking {
    const { memoryBacking } = config
    if (memoryBacking.kind !== 'memfd') return memoryBacking
    const made = createGuestRam({ ...config, memoryBacking: { ...memoryBacking, locked: false } })
    this.memory = this.#cleanup.own(made)
    return { ...memoryBacking, fds: made.regions.map(({ mapping }) => this.#inherited(mapping.fd)) }
  }

  /** A path that the machine's process is to open, as it is from there. */
  path(path: string, access: keyof MachineFiles): string {
    const absolute = resolve(path)
    this.files[access].push(absolute)
    return absolute
  }

  image(source: string | Uint8Array): string {
    return typeof source === 'string' ? this.path(source, 'read') : this.#memoryFile(source).path
  }

  /** Bytes that are changed by the guest are changed here when the machine is closed. */
  writable(source: string | Uint8Array): string {
    if (typeof source === 'string') return this.path(source, 'write')
    const { path, fd } = this.#memoryFile(source)
    this.#cleanup.defer(() => void readSync(fd, source, 0, source.length, 0))
    return path
  }

  async disk(config: DiskConfig, option: string, name: string): Promise<DiskForm> {
    const { backend, ...others } = config
    const cleanup = this.#cleanup.child()
    await openBackend(option, backend, cleanup)
    const handed =
      backend instanceof OpenBackend
        ? backend.handOver((capacity) => this.#servers.resized(name, capacity))
        : undefined
    if (handed === undefined) return { ...others, disk: this.#servers.disk(backend, cleanup) }
    // The descriptor is enough, but the I/O engine likes to have a file of its own.
    if (backend instanceof FileDisk) this.path(backend.path, backend.readOnly ? 'read' : 'write')
    const fds = handed.fds.map((fd) => this.#inherited(fd))
    return { ...others, disk: { ...handed, fds } satisfies HandedDisk }
  }

  async net(config: NetConfig, option: string): Promise<NetForm> {
    const { backend, ...others } = config
    const cleanup = this.#cleanup.child()
    await openBackend(option, backend, cleanup)
    if (!(backend instanceof Tap)) return { ...others, net: this.#servers.net(backend, cleanup) }
    const handed = this.#handedTap(backend, option)
    // Whether it is up.
    this.files.read.push(`/sys/class/net/${handed.name}`)
    return { ...others, net: { ...handed, fds: handed.fds.map((fd) => this.#inherited(fd)) } }
  }

  #handedTap(tap: Tap, option: string): HandedTap {
    try {
      return tap.handOver()
    } catch (error) {
      throw blameOption(option, error)
    }
  }

  /** @returns the descriptor's number in the machine's process */
  #inherited(fd: number): number {
    this.fds.push(fd)
    return CHANNEL_FD + this.fds.length
  }

  #memoryFile(bytes: Uint8Array): { path: string; fd: number } {
    const fd = binding().memoryFile(bytes.length)
    this.#cleanup.defer(() => closeSync(fd))
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, bytes.length - at, at)
    return { path: `/proc/self/fd/${this.#inherited(fd)}`, fd }
  }
}
