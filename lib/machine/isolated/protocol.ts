import type { HandedDisk } from '../../backends/block/inherited-disk.js'
import type { HandedTap } from '../../backends/net/tap.js'
import type { DiskConfig, NetConfig } from '../device-options.js'
import type { VmStatistics } from '../vm-stats.js'

// What a machine's process and the program's say to each other, over lib/isolation's channel.

/** The descriptor of the channel in the machine's process. */
export const CHANNEL_FD = 3
/** Bytes of one message of console data. */
export const CONSOLE_PIECE = 2 ** 16
/** Bytes of one request to a disk that the program serves. */
export const DISK_PIECE = 2 ** 18

/** A disk that the program serves itself: its number in requests, and what the device has to know of it. */
export interface ServedDiskForm {
  readonly served: number
  readonly name: string
  readonly capacity: number
  readonly readOnly: boolean
  readonly id: string
  readonly physicalBlockSize: number
  readonly logicalBlockSize: number
  readonly discards: boolean
  readonly writesZeroes: boolean
}

/** A network backend that the program serves itself: its number, and what the device has to know of it. */
export interface ServedNetForm {
  readonly served: number
  readonly name: string
  readonly mac: string
  readonly mtu?: number
}

export type DiskForm = Omit<DiskConfig, 'backend'> & {
  readonly disk: HandedDisk | ServedDiskForm
}
export type NetForm = Omit<NetConfig, 'backend'> & { readonly net: HandedTap | ServedNetForm }

/** The part of a machine's configuration that is said otherwise than it is. */
export interface MachineForm {
  readonly disks: readonly DiskForm[]
  readonly nets: readonly NetForm[]
}

type Counters = Readonly<Record<string, number>>

/** What a machine's handles show, as it last was. */
export interface Snapshot {
  readonly stats: VmStatistics
  readonly disks: readonly { name: string; engine: string; counters: Counters }[]
  readonly nets: readonly {
    name: string
    mac: string
    link: boolean
    queuePairs: number
    vhost: boolean
    announces: boolean
    counters: Counters
  }[]
  readonly vsock: Counters | undefined
  readonly virtioConsole:
    | { counters: Counters; ports: readonly { lost: number; guestOpen: boolean }[] }
    | undefined
  readonly balloon: { actual: number; target: number; counters: Counters } | undefined
  readonly virtioMem: { requested: number; plugged: number; counters: Counters } | undefined
}
