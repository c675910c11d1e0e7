import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { VirtualMachine } from '../../lib/index.js'
import * as asm from '../helpers/real-mode.js'
import { recorder, runLoopRig } from '../helpers/run-loop-rig.js'
import * as guest from './tiny-guest.js'

const create = (...code: number[][]) =>
  VirtualMachine.create({ kernel: guest.kernel(...code), memory: '32M' })

describe('stats', () => {
  it('counts exits by reason and port, with who answered them', async () => {
    const enable = Array.from({ length: 12 }, () => guest.outb(0x3f9, 0))
    await using vm = await create(...enable, guest.outb(0x80, 7), guest.powerOff)
    await vm.start()
    await vm.stopped
    const { exits, ports, mmio, otherAccesses, vcpus } = vm.stats()
    expect(exits).toMatchObject([{ reason: 'KVM_EXIT_IO', count: 14 }])
    expect(ports.find(({ address }) => address === 0x3f9)).toMatchObject({
      direction: 'write',
      device: 'uart0',
      count: 12,
      synchronous: 0,
    })
    expect(ports.find(({ address }) => address === 0x80)).toMatchObject({ count: 1 })
    expect(ports.reduce((sum, { count }) => sum + count, 0)).toBe(14)
    const total = ports.reduce((sum, { nanoseconds }) => sum + nanoseconds, 0)
    expect(total).toBeGreaterThan(0)
    expect(exits[0]!.nanoseconds).toBeGreaterThanOrEqual(total - ports.length)
    expect(ports.map((port) => port.nanoseconds)).toEqual(
      ports.map((port) => port.nanoseconds).sort((a, b) => b - a),
    )
    expect(mmio).toEqual([])
    expect(otherAccesses.count).toBe(0)
    expect(vcpus).toMatchObject([{ exits: 14 }])
  })

  it('counts what is printed without an exit', async () => {
    await using vm = await create(guest.print('twelve bytes'), guest.powerOff)
    await vm.start()
    await vm.stopped
    expect(vm.stats()).toMatchObject({ coalescedWrites: 12, vcpus: [{ exits: 1, posted: 0 }] })
    await vm.close()
  })

  it("has KVM's own statistics, while the guest runs", async () => {
    await using vm = await create(guest.count(0x10_0000))
    await vm.start()
    const { kvm, vcpus } = vm.stats()
    if (Object.keys(kvm).length === 0) {
      console.log('not tested: KVM statistics, as there is no KVM_CAP_BINARY_STATS_FD')
    } else {
      expect(kvm).toHaveProperty('remote_tlb_flush')
      expect(vcpus[0]!.kvm).toHaveProperty('exits')
    }
    expect(JSON.parse(JSON.stringify(vm.stats()))).toHaveProperty('exits')
  })

  it('counts MMIO by address, and what no device claims', async () => {
    await using vm = await create(
      guest.store(0xc000_0010, 1),
      guest.say(0xc000_0014),
      guest.powerOff,
    )
    await vm.start()
    await vm.stopped
    const none = { device: undefined, count: 1, synchronous: 1 }
    expect([...vm.stats().mmio].sort((a, b) => a.address - b.address)).toMatchObject([
      { address: 0xc000_0010, direction: 'write', ...none },
      { address: 0xc000_0014, direction: 'read', ...none },
    ])
  })

  it('is a table for people', async () => {
    await using vm = await create(guest.print('hello'), guest.outb(0x3f9, 0), guest.powerOff)
    await vm.start()
    await vm.stopped
    const text = vm.explain()
    expect(text).toMatch(/^exit reason +exits/)
    expect(text).toMatch(/^KVM_EXIT_IO +2 /m)
    expect(text).toMatch(/^0x3f9 +write +uart0 +1 +0 /m)
    expect(text).toMatch(/^5 writes to ports made no exit$/m)
    expect(text).toMatch(/^0 +2 +0 +1 +1 +\d+$/m)
  })

  it('is refused after close()', async () => {
    const vm = await create(guest.powerOff)
    await vm.close()
    const closed = expect.objectContaining({ code: 'ERR_CLOSED' })
    expect(() => vm.stats()).toThrow(closed)
    expect(() => vm.explain()).toThrow(closed)
  })
})

describe('a guest that touches every port', () => {
  it('is counted in bounded space', async () => {
    // mov cx, 0xffff; 1: mov dx, cx; in al, dx; loop 1b; hlt
    const scan = [...asm.movEcx(0xffff), 0x89, 0xca, 0xec, 0xe2, 0xfb, ...asm.hlt]
    using rig = runLoopRig([scan])
    rig.pio.attach(0x10, 1, recorder())
    rig.loop.run()
    while (!('kind' in (await Promise.race([rig.ended, sleep(10, {})])))) {
      expect(rig.loop.exitCounts().places.length).toBeLessThanOrEqual(512)
    }
    const { places, others } = rig.loop.exitCounts()
    expect(places.length).toBeGreaterThan(256)
    expect(places.reduce((sum, { count }) => sum + count, others.count)).toBe(0xffff)
    rig.loop.close()
    expect(rig.loop.exitCounts().others.count).toBe(others.count)
  })
})
