import { type FeatureBits, hasFeature } from '../abi.js'
import type { DescriptorChain } from '../queue/descriptor-chain.js'
import {
  VIRTIO_NET_CTRL_ANNOUNCE,
  VIRTIO_NET_CTRL_ANNOUNCE_ACK,
  VIRTIO_NET_CTRL_GUEST_OFFLOADS,
  VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET,
  VIRTIO_NET_CTRL_MAC,
  VIRTIO_NET_CTRL_MAC_ADDR_SET,
  VIRTIO_NET_CTRL_MAC_TABLE_SET,
  VIRTIO_NET_CTRL_MQ,
  VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET,
  VIRTIO_NET_CTRL_RX,
  VIRTIO_NET_CTRL_RX_ALLMULTI,
  VIRTIO_NET_CTRL_RX_NOBCAST,
  VIRTIO_NET_CTRL_VLAN,
  VIRTIO_NET_CTRL_VLAN_ADD,
  VIRTIO_NET_CTRL_VLAN_DEL,
  VIRTIO_NET_ERR,
  VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
  VIRTIO_NET_F_CTRL_MAC_ADDR,
  VIRTIO_NET_F_CTRL_RX,
  VIRTIO_NET_F_CTRL_RX_EXTRA,
  VIRTIO_NET_F_CTRL_VLAN,
  VIRTIO_NET_F_GUEST_ANNOUNCE,
  VIRTIO_NET_F_MQ,
  VIRTIO_NET_OK,
} from './abi.js'
import { MAC_TABLE_MAX, type MacTable, VLAN_COUNT } from './receive-filter.js'

/** What the commands act on. Each is called with values in range, and returns `false` to refuse. */
export interface ControlActions {
  setReceiveMode(command: number, on: boolean): boolean
  setMacTables(unicast: MacTable, multicast: MacTable): boolean
  /** Six bytes: a unicast address. */
  setMac(mac: Uint8Array): boolean
  setVlan(vlan: number, on: boolean): boolean
  acknowledgeAnnounce(): boolean
  setQueuePairs(pairs: number): boolean
  /** Features VIRTIO_NET_F_GUEST_*, which may hold any bits. */
  setGuestOffloads(features: FeatureBits): boolean
}

/** Class and command, before the data of the command. */
const HEADER = 2
const MAC_SIZE = 6

/**
 * The commands of the control virtqueue (virtio 1.3, 5.1.6.5). A command whose feature was not negotiated, that is
 * unknown, or whose data is of another length than the command's is answered with VIRTIO_NET_ERR and changes nothing.
 */
export class ControlQueue {
  readonly #features: FeatureBits
  readonly #actions: ControlActions
  readonly #scratch = new Uint8Array(MAC_SIZE * MAC_TABLE_MAX)

  constructor(features: FeatureBits, actions: ControlActions) {
    this.#features = features
    this.#actions = actions
  }

  /** Does one command and writes its ack. Does nothing for a chain that has no room for one: `written` is 0 then. */
  handle(chain: DescriptorChain): { readonly ok: boolean; readonly written: number } {
    // Written twice, so that nothing is done for a chain whose ack cannot be written.
    if (!chain.write(0, Uint8Array.of(VIRTIO_NET_ERR))) return { ok: false, written: 0 }
    const ok = this.#execute(chain)
    if (ok) chain.write(0, Uint8Array.of(VIRTIO_NET_OK))
    return { ok, written: 1 }
  }

  #execute(chain: DescriptorChain): boolean {
    const header = this.#read(chain, 0, HEADER)
    if (header === undefined) return false
    const kind = header[0]!
    const command = header[1]!
    switch (kind) {
      case VIRTIO_NET_CTRL_RX:
        return this.#receiveMode(chain, command)
      case VIRTIO_NET_CTRL_MAC:
        if (command === VIRTIO_NET_CTRL_MAC_TABLE_SET) return this.#macTables(chain)
        return command === VIRTIO_NET_CTRL_MAC_ADDR_SET && this.#mac(chain)
      case VIRTIO_NET_CTRL_VLAN:
        return this.#vlan(chain, command)
      case VIRTIO_NET_CTRL_ANNOUNCE:
        return (
          this.#has(VIRTIO_NET_F_GUEST_ANNOUNCE) &&
          command === VIRTIO_NET_CTRL_ANNOUNCE_ACK &&
          chain.readableLength === HEADER &&
          this.#actions.acknowledgeAnnounce()
        )
      case VIRTIO_NET_CTRL_MQ:
        return command === VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET && this.#queuePairs(chain)
      case VIRTIO_NET_CTRL_GUEST_OFFLOADS:
        return command === VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET && this.#guestOffloads(chain)
      default:
        return false
    }
  }

  #receiveMode(chain: DescriptorChain, command: number): boolean {
    const extra = command > VIRTIO_NET_CTRL_RX_ALLMULTI
    if (!this.#has(extra ? VIRTIO_NET_F_CTRL_RX_EXTRA : VIRTIO_NET_F_CTRL_RX)) return false
    const data = this.#data(chain, 1)
    if (data === undefined || command > VIRTIO_NET_CTRL_RX_NOBCAST) return false
    return data[0]! <= 1 && this.#actions.setReceiveMode(command, data[0] === 1)
  }

  #macTables(chain: DescriptorChain): boolean {
    if (!this.#has(VIRTIO_NET_F_CTRL_RX)) return false
    const unicast = this.#macTable(chain, HEADER)
    const multicast = unicast && this.#macTable(chain, unicast.end)
    if (unicast === undefined || multicast?.end !== chain.readableLength) return false
    return this.#actions.setMacTables(unicast.table, multicast.table)
  }

  /** A number of entries, and so many addresses: read only if they are so few that they are kept. */
  #macTable(chain: DescriptorChain, at: number): { table: MacTable; end: number } | undefined {
    const count = this.#read(chain, at, 4)
    if (count === undefined) return undefined
    const entries = new DataView(count.buffer, count.byteOffset).getUint32(0, true)
    const start = at + 4
    if (entries > (chain.readableLength - start) / MAC_SIZE) return undefined
    const end = start + entries * MAC_SIZE
    if (entries > MAC_TABLE_MAX) return { table: undefined, end }
    const bytes = this.#read(chain, start, entries * MAC_SIZE)
    if (bytes === undefined) return undefined
    const table = Array.from({ length: entries }, (_, i) => macNumber(bytes, i * MAC_SIZE))
    return { table, end }
  }

  #mac(chain: DescriptorChain): boolean {
    if (!this.#has(VIRTIO_NET_F_CTRL_MAC_ADDR)) return false
    const mac = this.#data(chain, MAC_SIZE)
    if (mac === undefined || (mac[0]! & 1) !== 0 || macNumber(mac, 0) === 0) return false
    return this.#actions.setMac(mac.slice())
  }

  #vlan(chain: DescriptorChain, command: number): boolean {
    if (!this.#has(VIRTIO_NET_F_CTRL_VLAN)) return false
    if (command !== VIRTIO_NET_CTRL_VLAN_ADD && command !== VIRTIO_NET_CTRL_VLAN_DEL) return false
    const data = this.#data(chain, 2)
    if (data === undefined) return false
    const vlan = data[0]! | (data[1]! << 8)
    return vlan < VLAN_COUNT && this.#actions.setVlan(vlan, command === VIRTIO_NET_CTRL_VLAN_ADD)
  }

  #queuePairs(chain: DescriptorChain): boolean {
    if (!this.#has(VIRTIO_NET_F_MQ)) return false
    const data = this.#data(chain, 2)
    return data !== undefined && this.#actions.setQueuePairs(data[0]! | (data[1]! << 8))
  }

  #guestOffloads(chain: DescriptorChain): boolean {
    if (!this.#has(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS)) return false
    const data = this.#data(chain, 8)
    if (data === undefined) return false
    const features = new DataView(data.buffer, data.byteOffset).getBigUint64(0, true)
    return this.#actions.setGuestOffloads(features)
  }

  #has(feature: number): boolean {
    return hasFeature(this.#features, feature)
  }

  /** The command's data, which must have exactly that many bytes. */
  #data(chain: DescriptorChain, length: number): Uint8Array | undefined {
    return chain.readableLength === HEADER + length ? this.#read(chain, HEADER, length) : undefined
  }

  /** Read once into memory of ours: the guest may change its own meanwhile. Valid until the next read. */
  #read(chain: DescriptorChain, at: number, length: number): Uint8Array | undefined {
    const bytes = this.#scratch.subarray(0, length)
    return chain.read(at, bytes) ? bytes : undefined
  }
}

/** Six bytes, the first on top. */
export function macNumber(bytes: Uint8Array, at: number): number {
  let mac = 0
  for (let i = at; i < at + MAC_SIZE; i++) mac = mac * 256 + bytes[i]!
  return mac
}
