import type { VirtioBlock } from '../devices/virtio/block/virtio-block.js'
import type { VirtioNet } from '../devices/virtio/net/virtio-net.js'

/**
 * A disk of a machine's, as its program sees it: what moves its data, and what it has done.
 * Its capacity is changed on the backend: {@link FileDisk.resize}.
 */
export type VmDisk = Pick<VirtioBlock, 'name' | 'engine' | 'counters'>

/** A network card of a machine's, as its program sees it: pull its cable, have it announce itself, capture its frames. */
export type VmNet = Pick<
  VirtioNet,
  'name' | 'mac' | 'link' | 'queuePairs' | 'counters' | 'setLink' | 'announce' | 'capture'
>
