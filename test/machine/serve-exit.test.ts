import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Bus } from '../../lib/bus/bus.js'
import { KVM_EXIT_IO_IN, KVM_EXIT_IO_OUT } from '../../lib/kvm/abi/exits.js'
import { serveIo, serveMmio } from '../../lib/machine/serve-exit.js'
import { recorder } from '../helpers/run-loop-rig.js'
import { ioPage, mmioPage, PAGE } from '../helpers/run-pages.js'

describe('KVM_EXIT_IO', () => {
  it('fills in the items of a read, and only those', () => {
    const bus = new Bus('pio')
    let value = 0
    bus.attach(
      0x10,
      4,
      recorder(() => ++value * 0x0101),
    )
    const page = ioPage({
      direction: KVM_EXIT_IO_IN,
      size: 2,
      port: 0x10,
      count: 3,
      dataOffset: 0x1000,
    })
    serveIo(page, bus)
    expect([...page.bytes.subarray(0xffe, 0x1008)]).toEqual([0, 0, 1, 1, 2, 2, 3, 3, 0, 0])
  })

  it.each([
    ['a count beyond the mapping', 1, 0xffff_ffff, 0x1000, PAGE - 0x1000],
    ['an offset beyond it', 1, 1, PAGE, 0],
    ['an offset far beyond it', 4, 0xffff_ffff, 0xffff_ffff, 0],
    ['an item that lies half in it', 4, 2, PAGE - 6, 1],
    ['no size', 0, 0xffff_ffff, 0x1000, 0],
  ])('with %s touches no more than there is', (_what, size, count, dataOffset, accesses) => {
    for (const direction of [KVM_EXIT_IO_IN, KVM_EXIT_IO_OUT]) {
      const bus = new Bus('pio')
      const device = recorder()
      bus.attach(0, 0x100, device)
      serveIo(ioPage({ direction, size, port: 0x10, count, dataOffset }), bus)
      expect(device.accesses).toHaveLength(accesses)
    }
  })

  it('never throws, and never leaves its data, whatever the page holds', () => {
    const bus = new Bus('pio')
    bus.attach(0, 0x1000, { name: 'ones', read: () => 0xffff_ffff, write: () => {} })
    const small = fc.oneof(fc.nat(0x4000), fc.nat(0xffff_ffff))
    fc.assert(
      fc.property(fc.nat(255), small, small, (size, count, dataOffset) => {
        const page = ioPage({ direction: KVM_EXIT_IO_IN, size, port: 0x10, count, dataOffset })
        // What stands before the data, apart from the item that an odd offset cuts in two.
        const before = Buffer.from(page.bytes.subarray(0, dataOffset - (dataOffset % 4)))
        serveIo(page, bus)
        expect(before.equals(page.bytes.subarray(0, before.length))).toBe(true)
      }),
      { numRuns: 200 },
    )
  })
})

describe('KVM_EXIT_MMIO', () => {
  it.each([1, 2, 4, 8])('of %i bytes', (length) => {
    const bus = new Bus('mmio')
    const device = recorder(() => 0)
    bus.attach(0xfee0_0000, 0x1000, device)
    const mask = (1n << BigInt(8 * length)) - 1n
    const data = 0xf1f2_f3f4_f5f6_f7f8n
    const written = data & mask
    serveMmio(mmioPage(0xfee0_0010n, length, true, data), bus)
    expect(device.accesses).toEqual([
      ['write', 0x10, length, length === 8 ? written : Number(written)],
    ])
    const page = mmioPage(0xfee0_0010n, length, false, data)
    serveMmio(page, bus)
    expect(page.mmioData64 & mask).toBe(length === 8 ? 0x0102_0304_0506_0708n : 0n)
  })

  it.each([0, 3, 5, 6, 7, 9, 0xffff_ffff])(
    'of %i bytes reads ones and writes nothing',
    (length) => {
      const bus = new Bus('mmio')
      const device = recorder()
      bus.attach(0, 0x1000, device)
      const page = mmioPage(0n, length, false, 0n)
      serveMmio(page, bus)
      serveMmio(mmioPage(0n, length, true, 0n), bus)
      expect(page.mmioData64).toBe(0xffff_ffff_ffff_ffffn)
      expect(device.accesses).toEqual([])
      expect(bus.unclaimed).toBe(2)
    },
  )

  it('above all addresses reaches nobody', () => {
    const bus = new Bus('mmio')
    bus.attach(0, 2 ** 53 - 1, recorder())
    for (const length of [4, 8]) {
      const page = mmioPage(0xffff_ffff_ffff_fff8n, length, false, 0n)
      serveMmio(page, bus)
      expect(page.mmioData64 & 0xffff_ffffn).toBe(0xffff_ffffn)
    }
    expect(bus.unclaimed).toBe(2)
  })
})
