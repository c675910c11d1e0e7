import { describe, expect, it } from 'vitest'
import { NO_OFFLOADS } from '../../../../lib/backends/net/net-backend.js'
import { hasFeature, VIRTIO_F_VERSION_1 } from '../../../../lib/devices/virtio/abi.js'
import * as abi from '../../../../lib/devices/virtio/net/abi.js'
import { NetConfig, netFeatures } from '../../../../lib/devices/virtio/net/net-config.js'
import { RecordingNet } from '../../../helpers/recording-net.js'

const traits = { backend: new RecordingNet(), queuePairs: 1, mtu: undefined }

describe('the features of a card', () => {
  const has = (feature: number, changes = {}, served?: bigint) =>
    hasFeature(netFeatures({ ...traits, ...changes }, served), feature)

  it.each([
    ['VIRTIO_NET_F_MQ', abi.VIRTIO_NET_F_MQ, { queuePairs: 2 }],
    ['VIRTIO_NET_F_MTU', abi.VIRTIO_NET_F_MTU, { mtu: 1500 }],
    [
      'VIRTIO_NET_F_CTRL_GUEST_OFFLOADS',
      abi.VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
      { backend: new RecordingNet(1, { ...NO_OFFLOADS, checksum: true }) },
    ],
  ])('have %s where there is something to it', (_name, feature, changes) => {
    expect([has(feature), has(feature, changes)]).toEqual([false, true])
  })

  it('have mergeable buffers unless whoever serves the rings has none', () => {
    const served = [undefined, 1n << BigInt(VIRTIO_F_VERSION_1), 1n << 15n]
    const mergeable = served.map((each) => has(abi.VIRTIO_NET_F_MRG_RXBUF, {}, each))
    expect(mergeable).toEqual([true, false, true])
  })
})

describe('the configuration space of a card', () => {
  it('is as 5.1.4 lays it out', () => {
    const { bytes } = new NetConfig({ ...traits, queuePairs: 3, mtu: 9000 }, true)
    expect(Buffer.from(bytes).toString('hex')).toBe('525400123456' + '0100' + '0300' + '2823')
  })

  it('has an address that the driver may set, until it is reset', () => {
    const config = new NetConfig(traits, true)
    config.setMac([2, 0, 0, 0xab, 0, 0xff])
    expect([config.mac, config.macNumber]).toEqual(['02:00:00:ab:00:ff', 0x02_00_00_ab_00_ff])
    config.resetMac()
    expect(config.mac).toBe(traits.backend.mac)
  })

  it('keeps the link and the announcement apart', () => {
    const config = new NetConfig(traits, false)
    const status = () => config.bytes[abi.CONFIG_STATUS]
    const seen = [status()]
    config.setAnnounce(true)
    seen.push(status())
    config.setLink(true)
    seen.push(status())
    config.setAnnounce(false)
    seen.push(status())
    config.setLink(false)
    seen.push(status())
    expect(seen).toEqual([0, 2, 3, 1, 0])
  })
})
