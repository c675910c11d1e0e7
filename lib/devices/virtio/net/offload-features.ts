import type { NetAgreement, NetBackend, NetOffloads } from '../../../backends/net/net-backend.js'
import { type FeatureBits, featureBits, hasFeature } from '../abi.js'
import {
  VIRTIO_NET_F_CSUM,
  VIRTIO_NET_F_GUEST_CSUM,
  VIRTIO_NET_F_GUEST_ECN,
  VIRTIO_NET_F_GUEST_TSO4,
  VIRTIO_NET_F_GUEST_TSO6,
  VIRTIO_NET_F_GUEST_UFO,
  VIRTIO_NET_F_HOST_ECN,
  VIRTIO_NET_F_HOST_TSO4,
  VIRTIO_NET_F_HOST_TSO6,
  VIRTIO_NET_F_HOST_UFO,
  VIRTIO_NET_F_MRG_RXBUF,
} from './abi.js'

/** Each offload's feature bits: for frames that the guest sends, and for frames that it receives. */
const bits = {
  checksum: [VIRTIO_NET_F_CSUM, VIRTIO_NET_F_GUEST_CSUM],
  tso4: [VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_GUEST_TSO4],
  tso6: [VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_GUEST_TSO6],
  tsoEcn: [VIRTIO_NET_F_HOST_ECN, VIRTIO_NET_F_GUEST_ECN],
  ufo: [VIRTIO_NET_F_HOST_UFO, VIRTIO_NET_F_GUEST_UFO],
} as const satisfies Record<keyof NetOffloads, readonly [transmit: number, receive: number]>

/** The features that stand for what a backend can do. */
export function offloadFeatures(backend: NetBackend): FeatureBits {
  const offered = (Object.keys(bits) as (keyof NetOffloads)[]).filter(
    (name) => backend.offloads[name],
  )
  return featureBits(...offered.flatMap((name) => bits[name]))
}

/** What the negotiated features mean for the backend. 5.1.3.1: the rest of a direction requires its checksum. */
export function agreement(features: FeatureBits): NetAgreement {
  const direction = (index: 0 | 1): NetOffloads => {
    const checksum = hasFeature(features, bits.checksum[index])
    const has = (name: keyof NetOffloads) => checksum && hasFeature(features, bits[name][index])
    return {
      checksum,
      tso4: has('tso4'),
      tso6: has('tso6'),
      tsoEcn: has('tsoEcn'),
      ufo: has('ufo'),
    }
  }
  return {
    transmit: direction(0),
    receive: direction(1),
    mergeable: hasFeature(features, VIRTIO_NET_F_MRG_RXBUF),
  }
}

const GUEST_OFFLOADS = featureBits(...Object.values(bits).map(([, receive]) => receive))

/** Those of the features that VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET turns on and off (5.1.6.5.8). */
export function guestOffloads(features: FeatureBits): FeatureBits {
  return features & GUEST_OFFLOADS
}
