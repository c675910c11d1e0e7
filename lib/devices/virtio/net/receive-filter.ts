import type { MacNumber, ReceiveFilter } from '../../../backends/net/net-backend.js'
import {
  VIRTIO_NET_CTRL_RX_ALLMULTI,
  VIRTIO_NET_CTRL_RX_ALLUNI,
  VIRTIO_NET_CTRL_RX_NOBCAST,
  VIRTIO_NET_CTRL_RX_NOMULTI,
  VIRTIO_NET_CTRL_RX_NOUNI,
  VIRTIO_NET_CTRL_RX_PROMISC,
} from './abi.js'

/** Addresses of one kind that are kept. Of a longer table everything of its kind is received, which a driver must bear. */
export const MAC_TABLE_MAX = 64
/** VLAN identifiers have 12 bits. */
export const VLAN_COUNT = 4096

/** One table of VIRTIO_NET_CTRL_MAC_TABLE_SET; undefined if it has more entries than are kept. */
export type MacTable = readonly MacNumber[] | undefined

/** What a driver has said of the frames it wants, since the last reset. */
export class ReceiveFilterState {
  /** VIRTIO_NET_CTRL_RX commands that are on, by number. Promiscuous until the driver says otherwise. */
  readonly #modes = new Set([VIRTIO_NET_CTRL_RX_PROMISC])
  readonly #vlans: Uint8Array | undefined
  #unicast: MacTable = []
  #multicast: MacTable = []

  /** @param vlanFilter whether VIRTIO_NET_F_CTRL_VLAN was negotiated: then no VLAN is wanted that was not added */
  constructor(vlanFilter: boolean) {
    this.#vlans = vlanFilter ? new Uint8Array(VLAN_COUNT / 8) : undefined
  }

  setMode(command: number, on: boolean): void {
    if (on) this.#modes.add(command)
    else this.#modes.delete(command)
  }

  /** 5.1.6.5.2: the first table holds unicast addresses, the second multicast ones. */
  setTables(unicast: MacTable, multicast: MacTable): void {
    this.#unicast = unicast
    this.#multicast = multicast
  }

  setVlan(vlan: number, on: boolean): void {
    const bytes = this.#vlans
    if (bytes === undefined) return
    const bit = 1 << (vlan & 7)
    bytes[vlan >> 3] = on ? bytes[vlan >> 3]! | bit : bytes[vlan >> 3]! & ~bit
  }

  /** The filter that this makes for a card with the address `mac`; undefined if everything passes. */
  filter(mac: MacNumber): ReceiveFilter | undefined {
    const on = (command: number) => this.#modes.has(command)
    if (on(VIRTIO_NET_CTRL_RX_PROMISC)) return undefined
    const kind = (none: number, all: number, table: MacTable, own: readonly MacNumber[]) => {
      if (on(none)) return new Set<MacNumber>()
      return on(all) || table === undefined ? ('all' as const) : new Set([...own, ...table])
    }
    return {
      broadcast: !on(VIRTIO_NET_CTRL_RX_NOBCAST),
      unicast: kind(VIRTIO_NET_CTRL_RX_NOUNI, VIRTIO_NET_CTRL_RX_ALLUNI, this.#unicast, [mac]),
      multicast: kind(VIRTIO_NET_CTRL_RX_NOMULTI, VIRTIO_NET_CTRL_RX_ALLMULTI, this.#multicast, []),
      vlans: this.#vlans?.slice() ?? 'all',
    }
  }
}
