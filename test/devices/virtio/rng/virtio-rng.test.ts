import { describe, expect, it } from 'vitest'
import { VirtioRng } from '../../../../lib/devices/virtio/rng/virtio-rng.js'
import { DeviceRig } from '../../../helpers/device-rig.js'

describe('virtio-rng', () => {
  it('fills buffers with bytes that differ', async () => {
    const rig = new DeviceRig(new VirtioRng())
    rig.driver.start([])
    rig.offer(0, 2, 64)
    const [one, two] = await rig.filled(0)
    expect(one).toHaveLength(64)
    expect(one).not.toEqual(two)
    expect(new Set(one).size).toBeGreaterThan(16)
    await rig.close()
  })

  it.each([
    ['read-only', { address: 0x100000, length: 64 }],
    ['outside memory', { address: 0x200000, length: 64, writable: true }],
    ['of 4 GiB that is not there', { address: 0x1fffff, length: 0xffff_ffff, writable: true }],
  ])('gives a buffer back that is %s', async (_name, segment) => {
    const rig = new DeviceRig(new VirtioRng())
    rig.driver.start([])
    rig.driver.queues[0]!.add([segment])
    rig.driver.kick(0)
    expect(rig.driver.queues[0]!.used()).toEqual([{ id: 0, length: 0 }])
    expect(rig.device.counters.dropped).toBe(1)
    expect(rig.errors).toEqual([])
  })

  it('keeps to its rate limit', async () => {
    const rig = new DeviceRig(
      new VirtioRng({ rateLimit: { bytes: { perSecond: 1000, burst: 64 } } }),
    )
    rig.driver.start([])
    const start = performance.now()
    rig.offer(0, 4, 64)
    for (let count = 0; count < 4; ) count += (await rig.filled(0)).length
    expect(performance.now() - start).toBeGreaterThan(((4 - 1 - 1) * 64 * 1000) / 1000) // the bound it promises
    await rig.close()
  })
})
