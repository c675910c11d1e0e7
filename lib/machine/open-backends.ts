import { SharedFolder } from '../backends/share/shared-folder.js'
import { VirtioBalloon } from '../devices/virtio/balloon/virtio-balloon.js'
import { VirtioBlock } from '../devices/virtio/block/virtio-block.js'
import { VirtioConsole } from '../devices/virtio/console/virtio-console.js'
import { VirtioFs } from '../devices/virtio/fs/virtio-fs.js'
import { VirtioNet } from '../devices/virtio/net/virtio-net.js'
import { VirtioRng } from '../devices/virtio/rng/virtio-rng.js'
import type { VirtioDevice } from '../devices/virtio/virtio-device.js'
import { type BridgedVsock, UnixVsockBridge } from '../devices/virtio/vsock/unix-vsock-bridge.js'
import { VirtioVsock } from '../devices/virtio/vsock/virtio-vsock.js'
import { VmmError } from '../errors.js'
import type { Cleanup } from '../util/cleanup.js'
import { blameOption } from './blame-option.js'
import type { DiskConfig, NetConfig } from './device-options.js'
import type { MachineConfig } from './machine-config.js'
import type { VmWarning } from './vm-warning.js'

/** A virtio device, and what is to be undone when it is gone. */
export interface OpenedDevice<T extends VirtioDevice = VirtioDevice> {
  readonly device: T
  readonly cleanup: Cleanup
}

/** The virtio devices of a machine. */
export interface MachineDevices {
  /** All of them, in the order the guest sees them. */
  readonly devices: readonly OpenedDevice[]
  readonly disks: VirtioBlock[]
  readonly nets: VirtioNet[]
  readonly vsock: VirtioVsock | undefined
  readonly virtioConsole: VirtioConsole | undefined
  readonly balloon: VirtioBalloon | undefined
}

/**
 * Opens every disk and network backend and puts its device before it, in the order the guest sees them.
 * @throws what the backend's `open()` throws, with the option (`disks[0]`) named
 */
export async function openBackends(
  config: MachineConfig,
  cleanup: Cleanup,
  warn: (warning: VmWarning) => void,
): Promise<MachineDevices> {
  const disks: OpenedDevice<VirtioBlock>[] = []
  for (const [i, disk] of config.disks.entries()) {
    disks.push(await openDisk(disk, `disks[${i}]`, `block${i}`, cleanup.child()))
  }
  const nets: OpenedDevice<VirtioNet>[] = []
  for (const [i, net] of config.nets.entries()) {
    nets.push(await openNet(net, `nets[${i}]`, `net${i}`, cleanup.child(), warn))
  }
  const others: VirtioDevice[] = []
  if (config.rng) others.push(new VirtioRng())
  const vsock = config.vsock && new VirtioVsock({ cid: config.vsock.cid })
  if (vsock) {
    others.push(vsock)
    const path = config.vsock?.unixSocket
    if (path !== undefined) await openBridge(vsock, path, cleanup)
  }
  for (const [i, { tag, path, readOnly }] of config.shares.entries()) {
    const folder = new SharedFolder(path, { readOnly })
    await openBackend(`shares[${i}]`, folder, cleanup)
    others.push(new VirtioFs(folder, { name: `fs${i}`, tag }))
  }
  const virtioConsole = config.virtioConsole && new VirtioConsole(config.virtioConsole)
  if (virtioConsole) others.push(virtioConsole)
  const balloon = config.balloon && new VirtioBalloon(config.balloon)
  if (balloon) others.push(balloon)
  return {
    devices: [...disks, ...nets, ...others.map((device) => ({ device, cleanup: cleanup.child() }))],
    disks: disks.map(({ device }) => device),
    nets: nets.map(({ device }) => device),
    vsock,
    virtioConsole,
    balloon,
  }
}

/**
 * Opens a disk's backend and puts a device before it.
 * @param option how errors call it
 */
export async function openDisk(
  { backend, rateLimit, ...options }: DiskConfig,
  option: string,
  name: string,
  cleanup: Cleanup,
): Promise<OpenedDevice<VirtioBlock>> {
  await openBackend(option, backend, cleanup)
  const device = new VirtioBlock(backend, { ...options, name, ...(rateLimit && { rateLimit }) })
  return { device, cleanup }
}

/** The same of a network card. */
export async function openNet(
  { backend, transmitLimit, receiveLimit, link }: NetConfig,
  option: string,
  name: string,
  cleanup: Cleanup,
  warn: (warning: VmWarning) => void,
): Promise<OpenedDevice<VirtioNet>> {
  await openBackend(option, backend, cleanup)
  const device = new VirtioNet(backend, {
    name,
    link,
    onBackendLink: (up) => {
      if (!up) warn({ kind: 'link-lost', device: name, backend: backend.name })
    },
    ...(transmitLimit && { transmitLimit }),
    ...(receiveLimit && { receiveLimit }),
  })
  return { device, cleanup }
}

/** Opens a backend, and has it closed with what `cleanup` undoes. @throws what it throws, with the option named */
export async function openBackend(
  option: string,
  backend: { open(): Promise<void>; close(): Promise<void> },
  cleanup: Cleanup,
): Promise<void> {
  try {
    await backend.open()
  } catch (error) {
    throw blameOption(option, error)
  }
  cleanup.own(backend)
}

/** Makes the Unix socket of option `vsock.unixSocket`. */
export async function openBridge(
  vsock: BridgedVsock,
  path: string,
  cleanup: Cleanup,
): Promise<void> {
  try {
    const bridge = new UnixVsockBridge(vsock, path)
    await bridge.open()
    cleanup.own(bridge)
  } catch (cause) {
    throw new VmmError('ERR_INVALID_OPTION', (cause as Error).message, {
      option: 'vsock.unixSocket',
      value: path,
      expected: 'the path of a socket that does not exist yet',
      cause,
    })
  }
}
