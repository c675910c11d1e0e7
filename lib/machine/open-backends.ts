import { VirtioBalloon } from '../devices/virtio/balloon/virtio-balloon.js'
import { VirtioBlock } from '../devices/virtio/block/virtio-block.js'
import { VirtioConsole } from '../devices/virtio/console/virtio-console.js'
import { VirtioNet } from '../devices/virtio/net/virtio-net.js'
import { VirtioRng } from '../devices/virtio/rng/virtio-rng.js'
import type { VirtioDevice } from '../devices/virtio/virtio-device.js'
import { UnixVsockBridge } from '../devices/virtio/vsock/unix-vsock-bridge.js'
import { VirtioVsock } from '../devices/virtio/vsock/virtio-vsock.js'
import { VmmError } from '../errors.js'
import type { Cleanup } from '../util/cleanup.js'
import { blameOption } from './blame-option.js'
import type { MachineConfig } from './machine-config.js'

/** The virtio devices of a machine. */
export interface MachineDevices {
  /** All of them, in the order the guest sees them. */
  readonly devices: readonly VirtioDevice[]
  readonly disks: readonly VirtioBlock[]
  readonly nets: readonly VirtioNet[]
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
): Promise<MachineDevices> {
  const disks: VirtioBlock[] = []
  for (const [i, { backend, queues, rateLimit }] of config.disks.entries()) {
    await opened(`disks[${i}]`, backend, cleanup)
    disks.push(
      new VirtioBlock(backend, { name: `block${i}`, queues, ...(rateLimit && { rateLimit }) }),
    )
  }
  const nets: VirtioNet[] = []
  for (const [i, { backend, transmitLimit, receiveLimit, link }] of config.nets.entries()) {
    await opened(`nets[${i}]`, backend, cleanup)
    nets.push(
      new VirtioNet(backend, {
        name: `net${i}`,
        link,
        ...(transmitLimit && { transmitLimit }),
        ...(receiveLimit && { receiveLimit }),
      }),
    )
  }
  const devices: VirtioDevice[] = [...disks, ...nets]
  if (config.rng) devices.push(new VirtioRng())
  const vsock = config.vsock && new VirtioVsock({ cid: config.vsock.cid })
  if (vsock) {
    devices.push(vsock)
    const path = config.vsock?.unixSocket
    if (path !== undefined) await openBridge(vsock, path, cleanup)
  }
  const virtioConsole = config.virtioConsole && new VirtioConsole(config.virtioConsole)
  if (virtioConsole) devices.push(virtioConsole)
  const balloon = config.balloon && new VirtioBalloon(config.balloon)
  if (balloon) devices.push(balloon)
  return { devices, disks, nets, vsock, virtioConsole, balloon }
}

async function opened(
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

async function openBridge(vsock: VirtioVsock, path: string, cleanup: Cleanup): Promise<void> {
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
