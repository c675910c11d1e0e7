import { type FeatureBits, hasFeature } from '../abi.js'
import { VIRTIO_NET_F_CTRL_VLAN, VIRTIO_NET_F_MTU } from './abi.js'
import type { ControlActions } from './control-queue.js'
import type { NetConfig } from './net-config.js'
import { agreement, guestOffloads } from './offload-features.js'
import type { QueuePairs } from './queue-pairs.js'
import { type MacTable, ReceiveFilterState } from './receive-filter.js'

/** What the commands of the control queue change of a card, from DRIVER_OK to the reset. */
export class ControlEffects implements ControlActions {
  readonly #features: FeatureBits
  readonly #config: NetConfig
  readonly #pairs: QueuePairs
  readonly #mtu: number | undefined
  readonly #filter: ReceiveFilterState

  /**
   * Tells the pairs what was negotiated.
   * @param mtu what the card offers
   */
  constructor(
    features: FeatureBits,
    config: NetConfig,
    pairs: QueuePairs,
    mtu: number | undefined,
  ) {
    this.#features = features
    this.#config = config
    this.#pairs = pairs
    this.#mtu = hasFeature(features, VIRTIO_NET_F_MTU) ? mtu : undefined
    this.#filter = new ReceiveFilterState(hasFeature(features, VIRTIO_NET_F_CTRL_VLAN))
    this.#agree(features)
  }

  setReceiveMode(command: number, on: boolean): boolean {
    this.#filter.setMode(command, on)
    return this.#applyFilter()
  }

  setMacTables(unicast: MacTable, multicast: MacTable): boolean {
    this.#filter.setTables(unicast, multicast)
    return this.#applyFilter()
  }

  setVlan(vlan: number, on: boolean): boolean {
    this.#filter.setVlan(vlan, on)
    return this.#applyFilter()
  }

  setMac(mac: Uint8Array): boolean {
    this.#config.setMac(mac)
    return this.#applyFilter()
  }

  acknowledgeAnnounce(): boolean {
    this.#config.setAnnounce(false)
    return true
  }

  setQueuePairs(pairs: number): boolean {
    return this.#pairs.use(pairs)
  }

  setGuestOffloads(wanted: FeatureBits): boolean {
    const negotiated = guestOffloads(this.#features)
    if ((wanted & ~negotiated) !== 0n) return false
    this.#agree((this.#features & ~negotiated) | wanted)
    return true
  }

  #agree(features: FeatureBits): void {
    this.#pairs.agree({ ...agreement(features), mtu: this.#mtu })
  }

  #applyFilter(): boolean {
    this.#pairs.filter(this.#filter.filter(this.#config.macNumber))
    return true
  }
}
