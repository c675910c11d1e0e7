import { describe, expect, it } from 'vitest'
import { VIRTIO_F_RING_RESET } from '../../../../lib/devices/virtio/abi.js'
import * as abi from '../../../../lib/devices/virtio/balloon/abi.js'
import { forEachPageRun } from '../../../../lib/devices/virtio/balloon/page-runs.js'
import { VirtioBalloon } from '../../../../lib/devices/virtio/balloon/virtio-balloon.js'
import { DeviceRig } from '../../../helpers/device-rig.js'
import { nativeMemory } from '../../../helpers/guest-memories.js'
import { turns, until } from '../../../helpers/virtio-driver.js'

const RAM = 0x200000
const ALL = [abi.VIRTIO_BALLOON_F_STATS_VQ, abi.VIRTIO_BALLOON_F_PAGE_REPORTING]

function started(features = ALL): DeviceRig<VirtioBalloon> {
  const rig = new DeviceRig(new VirtioBalloon(), nativeMemory([0, RAM]))
  rig.driver.start(features, 64)
  return rig
}

const numbers = (pages: number[]) => new Uint8Array(Uint32Array.from(pages).buffer)

describe('virtio-balloon', () => {
  it('asks for memory, and gives the pages that it gets back to the host', async () => {
    const rig = started()
    rig.device.target = 8 * 4096
    expect(rig.driver.read(0x100)).toBe(8)
    expect(rig.irq.pulses).toBe(1)
    rig.memory.fill(0x180000, 0x10000, 0xaa)
    await rig.send(0, numbers([0x181, 0x182, 0x184, 0x183, 0x18a]))
    expect(rig.device.counters.discardedPages).toBe(5)
    expect(rig.memory.read(0x181000, 0x4000)).toEqual(new Uint8Array(0x4000))
    expect(rig.memory.read(0x18a000, 0x1000)).toEqual(new Uint8Array(0x1000))
    expect(rig.memory.read(0x180000, 0x1000)).toEqual(new Uint8Array(0x1000).fill(0xaa))
    rig.driver.write(0x104, 5)
    expect(rig.device.actual).toBe(5 * 4096)
    await rig.send(1, numbers([0x181]))
    await rig.close()
  })

  it('ignores pages that are not there', async () => {
    const rig = started()
    await rig.send(0, numbers([0x200, 0xffff_ffff, 0x7fff_ffff]))
    expect(rig.device.counters).toMatchObject({ discardedPages: 0, dropped: 3 })
    await rig.send(0, new Uint8Array(3))
    rig.driver.queues[0]!.add([{ address: RAM, length: 64 }])
    rig.driver.kick(0)
    await until(() => rig.driver.queues[0]!.used().length === 1)
    expect(rig.errors).toEqual([])
    expect(rig.reasons).toEqual([])
  })

  it('bounds the pages of one turn', async () => {
    const rig = started()
    const ring = rig.driver.queues[0]!
    rig.memory.write(
      0x100000,
      numbers(Array.from({ length: 1024 }, (_, i) => 0x180 + 2 * (i % 60))),
    )
    for (let i = 0; i < 60; i++) ring.add([{ address: 0x100000, length: 4096 }])
    rig.driver.kick(0)
    expect(ring.deviceUsedIdx).toBeLessThanOrEqual(4)
    await turns(20)
    expect(ring.deviceUsedIdx).toBe(60)
  })

  it('takes free pages that the guest reports', async () => {
    const rig = started()
    rig.memory.fill(0x180000, 0x4000, 0xbb)
    const ring = rig.driver.queues[3]!
    ring.add([
      { address: 0x181000, length: 0x2000, writable: true },
      { address: 0x183001, length: 0x1000, writable: true },
      { address: RAM, length: 0x1000, writable: true },
    ])
    rig.driver.kick(3)
    expect(ring.used()).toHaveLength(1)
    expect(rig.device.counters).toMatchObject({ reportedPages: 2, dropped: 2 })
    expect(rig.memory.read(0x181000, 0x2000)).toEqual(new Uint8Array(0x2000))
    expect(rig.memory.read(0x183000, 0x1000)[0]).toBe(0xbb)
  })

  it('asks for statistics', async () => {
    const rig = started()
    const ring = rig.driver.queues[2]!
    const offer = (free: bigint) => {
      const view = rig.memory.dataView(0x100000, 20)
      view.setUint16(0, 4, true)
      view.setBigUint64(2, free, true)
      view.setUint16(10, 999, true)
      ring.add([{ address: 0x100000, length: 20 }])
      rig.driver.kick(2)
    }
    offer(1000n)
    expect(ring.used()).toHaveLength(0)
    const statistics = rig.device.statistics()
    expect(ring.used()).toHaveLength(1)
    offer(2000n)
    expect(await statistics).toEqual({ freeMemory: 2000 })
    await rig.close()
  })

  it('forgets the buffer for statistics when their queue is reset', async () => {
    const rig = started([...ALL, VIRTIO_F_RING_RESET])
    const offer = () => {
      rig.driver.queues[2]!.add([{ address: 0x100000, length: 20 }])
      rig.driver.kick(2)
    }
    offer()
    rig.driver.resetQueue(2)
    const ring = rig.driver.setUpQueue(2, 8)
    const statistics = rig.device.statistics()
    expect(ring.deviceUsedIdx).toBe(0)
    offer()
    expect(ring.deviceUsedIdx).toBe(0)
    expect(await statistics).toEqual({ swapIn: 0 })
    void rig.device.statistics()
    expect(ring.deviceUsedIdx).toBe(1)
    await rig.close()
  })

  it('finds the reporting queue one place lower without statistics', () => {
    const rig = started([abi.VIRTIO_BALLOON_F_PAGE_REPORTING])
    rig.driver.queues[2]!.add([{ address: 0x181000, length: 0x1000, writable: true }])
    rig.driver.kick(2)
    expect(rig.device.counters.reportedPages).toBe(1)
  })

  it.each([-4096, 1, 4095, 2 ** 44, Number.NaN])('refuses a target of %d', (target) => {
    const balloon = new VirtioBalloon()
    expect(() => {
      balloon.target = target
    }).toThrow(expect.objectContaining({ option: 'target' }))
  })
})

describe('forEachPageRun', () => {
  it('joins neighbours either way', () => {
    const runs: number[][] = []
    forEachPageRun(Uint32Array.of(5, 6, 7, 4, 9, 8, 20, 20), (first, count) =>
      runs.push([first, count]),
    )
    expect(runs).toEqual([
      [4, 4],
      [8, 2],
      [20, 1],
      [20, 1],
    ])
  })
})
