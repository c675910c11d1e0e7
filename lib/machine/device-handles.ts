import type { Duplex } from 'node:stream'
import type { ConsoleOutput } from '../backends/char/console-output.js'
import type { VirtioBalloon } from '../devices/virtio/balloon/virtio-balloon.js'
import type { VirtioBlock } from '../devices/virtio/block/virtio-block.js'
import type { ConsolePort } from '../devices/virtio/console/console-port.js'
import type { VirtioConsole } from '../devices/virtio/console/virtio-console.js'
import type { VirtioNet } from '../devices/virtio/net/virtio-net.js'
import type { VirtioVsock } from '../devices/virtio/vsock/virtio-vsock.js'
import type { VsockStream as DeviceStream } from '../devices/virtio/vsock/vsock-stream.js'

/**
 * A disk of a machine's, as its program sees it: what moves its data, what it has done, its limits.
 * Its capacity is changed on the backend: {@link FileDisk.resize}.
 */
export type VmDisk = Pick<VirtioBlock, 'name' | 'engine' | 'counters' | 'setLimits'>

/** A network card of a machine's, as its program sees it: pull its cable, have it announce itself, capture its frames. */
export type VmNet = Pick<
  VirtioNet,
  | 'name'
  | 'mac'
  | 'link'
  | 'queuePairs'
  | 'vhost'
  | 'counters'
  | 'setLink'
  | 'setLimits'
  | 'announces'
  | 'announce'
  | 'capture'
>

/** One port of a virtio console, as streams, which end when the machine is closed. */
export type VmConsolePort = Readonly<
  Pick<ConsolePort, 'name' | 'output' | 'input' | 'lost' | 'guestOpen'>
>

/** A virtio console. `ports[0]` is the guest's `hvc0`; the ports follow in the order of their option. */
export type VmVirtioConsole = Pick<VirtioConsole, 'resize' | 'counters'> & {
  readonly ports: readonly VmConsolePort[]
}

/** A memory balloon: set its `target`, and see how far the guest is (`actual`) and how it fares (`statistics()`). */
export type VmBalloon = Pick<VirtioBalloon, 'target' | 'actual' | 'statistics' | 'counters'>

/** A debug console's output. */
export type VmDebugConsole = ConsoleOutput

/** A connection with a program in the guest, as a Node stream. Emits `connect` when the guest has accepted it. */
export type VsockStream = Duplex & Pick<DeviceStream, 'localPort' | 'remotePort' | 'connecting'>

/** Takes connections that programs in the guest make to one port of the host. */
export type VsockListener = (stream: VsockStream) => void

/** Connections between this program and programs in the guest. */
export interface VmVsock extends Pick<VirtioVsock, 'name' | 'cid' | 'counters'> {
  /**
   * Connects to a port that a program in the guest listens on. The stream emits `connect`, or `error` with the code
   * `ECONNREFUSED`; what is written before is sent then.
   * @throws VmmError `ERR_INVALID_OPTION`
   */
  connect(port: number): VsockStream
  /**
   * Takes connections from the guest to `port` of the host, until the returned function is called.
   * @throws VmmError `ERR_INVALID_OPTION`; `ERR_STATE` if somebody listens on that port already
   */
  listen(port: number, listener: VsockListener): () => void
}
