import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { VirtualSwitch } from '../../../../lib/backends/net/virtual-switch.js'
import { VIRTIO_F_EVENT_IDX } from '../../../../lib/devices/virtio/abi.js'
import { plainMemory } from '../../../helpers/guest-memories.js'
import { NetRig } from '../../../helpers/net-driver.js'

const ADDRESS = 0x60000
let rig: NetRig

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  const port = new VirtualSwitch().port()
  await port.open()
  rig = new NetRig(port, plainMemory([0, 0x100000]))
  rig.driver.start([VIRTIO_F_EVENT_IDX], 64)
})
afterEach(async () => {
  await rig.close()
  expect(vi.getTimerCount()).toBe(0)
  vi.useRealTimers()
  expect(rig.reasons).toEqual([])
  expect(rig.errors).toEqual([])
})

/** Sends a frame, and gives the interrupts that come at once. */
function send(length = 72): number {
  const before = rig.irq.pulses
  rig.tx.add([{ address: ADDRESS, length }])
  rig.driver.kick(1)
  return rig.irq.pulses - before
}

/** What Linux does when a received frame has interrupted it: takes what was sent, and asks for the next. */
function seeTo(): void {
  rig.tx.used()
  rig.tx.usedEvent = rig.tx.usedIdx
}

describe('the interrupt for a frame that was sent', () => {
  it('waits a moment if it is a lone short one, which the driver can see at once', () => {
    expect(send()).toBe(0)
    expect(rig.tx.used()).toHaveLength(1)
    vi.advanceTimersByTime(2)
    expect(rig.irq.pulses).toBe(1)
  })

  it('is not raised where the driver has seen to it meanwhile', () => {
    for (let i = 0; i < 20; i++) {
      expect(send()).toBe(0)
      seeTo()
    }
    vi.advanceTimersByTime(100)
    expect(rig.irq.pulses).toBe(0)
  })

  it('comes at once for the second frame, and counts for both', () => {
    expect(send()).toBe(0)
    expect(send()).toBe(1)
    vi.advanceTimersByTime(100)
    expect(rig.irq.pulses).toBe(1)
  })

  it('comes at once for several frames of one kick, and for a long one', () => {
    rig.tx.add([{ address: ADDRESS, length: 72 }])
    expect(send()).toBe(1)
    seeTo()
    expect(send(1514)).toBe(1)
  })

  it('is put off ever less often for a driver that waits for it', () => {
    const late: number[] = []
    for (let i = 0; i < 100; i++) {
      if (send() === 0) late.push(i)
      vi.advanceTimersByTime(2)
      expect(rig.irq.pulses).toBe(i + 1)
      seeTo()
    }
    expect(late).toEqual([0, 1, 3, 7, 15, 31, 63])
  })

  it('is not raised after a reset', () => {
    expect(send()).toBe(0)
    rig.transport.reset()
    vi.advanceTimersByTime(100)
    expect(rig.irq.pulses).toBe(0)
  })
})
