import type { NetBackend } from '../../../backends/net/net-backend.js'
import { type FeatureBits, featureBits } from '../abi.js'
import * as abi from './abi.js'
import { macNumber } from './control-queue.js'
import { guestOffloads, offloadFeatures } from './offload-features.js'

/** What a card is, and what its configuration space is made from. */
export interface NetTraits {
  readonly backend: NetBackend
  readonly queuePairs: number
  readonly mtu: number | undefined
}

const CONTROL_FEATURES = featureBits(
  abi.VIRTIO_NET_F_CTRL_VQ,
  abi.VIRTIO_NET_F_CTRL_RX,
  abi.VIRTIO_NET_F_CTRL_RX_EXTRA,
  abi.VIRTIO_NET_F_CTRL_VLAN,
  abi.VIRTIO_NET_F_CTRL_MAC_ADDR,
  abi.VIRTIO_NET_F_GUEST_ANNOUNCE,
)

/**
 * The features that a card offers (virtio 1.3, 5.1.3).
 * @param served those that serve its rings in the host's kernel, if that does
 */
export function netFeatures(
  { backend, queuePairs, mtu }: NetTraits,
  served: FeatureBits | undefined,
): FeatureBits {
  const offloads = offloadFeatures(backend)
  const mergeable = featureBits(abi.VIRTIO_NET_F_MRG_RXBUF)
  return (
    offloads |
    CONTROL_FEATURES |
    featureBits(abi.VIRTIO_NET_F_MAC, abi.VIRTIO_NET_F_STATUS) |
    (mergeable & (served ?? mergeable)) |
    (guestOffloads(offloads) === 0n ? 0n : featureBits(abi.VIRTIO_NET_F_CTRL_GUEST_OFFLOADS)) |
    (queuePairs > 1 ? featureBits(abi.VIRTIO_NET_F_MQ) : 0n) |
    (mtu === undefined ? 0n : featureBits(abi.VIRTIO_NET_F_MTU))
  )
}

/** The configuration space of a card (virtio 1.3, 5.1.4), and what changes in it. */
export class NetConfig {
  readonly bytes = new Uint8Array(abi.CONFIG_SIZE)
  readonly #backend: NetBackend

  constructor({ backend, queuePairs, mtu = 0 }: NetTraits, link: boolean) {
    this.#backend = backend
    const view = new DataView(this.bytes.buffer)
    view.setUint16(abi.CONFIG_MAX_VIRTQUEUE_PAIRS, queuePairs, true)
    view.setUint16(abi.CONFIG_MTU, mtu, true)
    this.setLink(link)
    this.resetMac()
  }

  /** `'52:54:00:12:34:56'`. */
  get mac(): string {
    return Buffer.from(this.bytes.subarray(abi.CONFIG_MAC, abi.CONFIG_MAC + 6))
      .toString('hex')
      .replace(/..(?=.)/g, '$&:')
  }

  get macNumber(): number {
    return macNumber(this.bytes, abi.CONFIG_MAC)
  }

  /** Six bytes. */
  setMac(mac: ArrayLike<number>): void {
    this.bytes.set(mac, abi.CONFIG_MAC)
  }

  /** The backend's address again. */
  resetMac(): void {
    this.setMac(this.#backend.mac.split(':').map((byte) => Number.parseInt(byte, 16)))
  }

  setLink(up: boolean): void {
    this.#setStatus(abi.VIRTIO_NET_S_LINK_UP, up)
  }

  /** Whether the driver is to tell the network where it is. */
  setAnnounce(on: boolean): void {
    this.#setStatus(abi.VIRTIO_NET_S_ANNOUNCE, on)
  }

  #setStatus(bit: number, on: boolean): void {
    if (on) this.bytes[abi.CONFIG_STATUS]! |= bit
    else this.bytes[abi.CONFIG_STATUS]! &= ~bit
  }
}
