import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  featureBits,
  hasFeature,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_VERSION_1,
} from '../../../../lib/devices/virtio/abi.js'
import {
  FeatureNegotiation,
  offeredFeatures,
} from '../../../../lib/devices/virtio/transport/feature-negotiation.js'
import type { VirtioDevice } from '../../../../lib/devices/virtio/virtio-device.js'
import { EchoDevice } from '../../../helpers/echo-device.js'

const V1 = featureBits(VIRTIO_F_VERSION_1)

/** An echo device of other abilities. */
function device(
  abilities: {
    [K in keyof VirtioDevice]?: VirtioDevice[K] | undefined
  },
): VirtioDevice {
  return Object.assign(Object.create(new EchoDevice({ features: 0b101n })), abilities)
}

describe('what is offered', () => {
  it('is what the device and every ring can do', () => {
    const always = featureBits(VIRTIO_F_VERSION_1, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX)
    const offered = offeredFeatures(device({ resetQueue: undefined }), {})
    expect(offered).toBe(always | 0b101n)
  })

  it('has packed rings where the transport says so', () => {
    const has = (packed: boolean) =>
      hasFeature(offeredFeatures(device({}), { packed }), VIRTIO_F_RING_PACKED)
    expect([has(true), has(false)]).toEqual([true, false])
  })

  it.each([
    [true, true, true],
    [true, false, false],
    [false, true, false],
  ])('has VIRTIO_F_IN_ORDER: the transport %s, the device %s: %s', (transport, able, expected) => {
    const offered = offeredFeatures(device({ inOrder: able }), { inOrder: transport })
    expect(hasFeature(offered, VIRTIO_F_IN_ORDER)).toBe(expected)
  })

  it('has VIRTIO_F_RING_RESET for a device that can reset a queue', () => {
    expect(hasFeature(offeredFeatures(device({}), {}), VIRTIO_F_RING_RESET)).toBe(true)
  })

  it("has no more of rings than whoever serves the device's", () => {
    const offered = offeredFeatures(device({ ringFeatures: V1 }), { packed: true, inOrder: true })
    expect(offered).toBe(V1 | featureBits(VIRTIO_F_RING_RESET) | 0b101n)
  })
})

describe('what is accepted', () => {
  const offered = V1 | featureBits(VIRTIO_F_EVENT_IDX)

  it('is what was written last, word by word', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(3), fc.integer({ min: 0, max: 0xffff_ffff })), { maxLength: 8 }),
        (writes) => {
          const features = new FeatureNegotiation(offered)
          const words = [0, 0]
          for (const [select, word] of writes) {
            features.accept(select, word)
            if (select < 2) words[select] = word
          }
          const read = [0, 1, 2, 3].map((select) => features.acceptedWord(select))
          expect(read).toEqual([...words, 0, 0])
          expect(features.accepted).toBe((BigInt(words[1]!) << 32n) | BigInt(words[0]!))
        },
      ),
    )
  })

  it.each([
    ['nothing', 0n, false],
    ['all that is offered', offered, true],
    ['version 1 alone', V1, true],
    ['no version 1', featureBits(VIRTIO_F_EVENT_IDX), false],
    ['what is not offered', V1 | 1n, false],
  ])('is acceptable or not: %s', (_name, accepted, acceptable) => {
    const features = new FeatureNegotiation(offered)
    features.accept(0, Number(BigInt.asUintN(32, accepted)))
    features.accept(1, Number(accepted >> 32n))
    expect(features.acceptable).toBe(acceptable)
  })

  it('is forgotten by a reset, what is offered is not', () => {
    const features = new FeatureNegotiation(offered)
    features.accept(1, 1)
    features.reset()
    expect(features.accepted).toBe(0n)
    expect([0, 1, 2].map((select) => features.offeredWord(select))).toEqual([1 << 29, 1, 0])
  })
})
