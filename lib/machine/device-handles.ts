import type { VirtioBalloon } from '../devices/virtio/balloon/virtio-balloon.js'
import type { VirtioBlock } from '../devices/virtio/block/virtio-block.js'
import type { ConsolePort } from '../devices/virtio/console/console-port.js'
import type { VirtioConsole } from '../devices/virtio/console/virtio-console.js'
import type { VirtioNet } from '../devices/virtio/net/virtio-net.js'

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
  | 'counters'
  | 'setLink'
  | 'setLimits'
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
