import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Bus, type BusRange, MMIO_SPACE_SIZE } from '../../lib/bus/bus.js'
import type { BusDevice } from '../../lib/bus/bus-device.js'

type Call = [string, ...(number | bigint)[]]

/** Answers every read with `value` and records what it is told. */
function recorder(
  name: string,
  value = 0,
): BusDevice & { calls: Call[]; read64(offset: number): bigint } {
  const calls: Call[] = []
  return {
    name,
    calls,
    read: (offset, width) => {
      calls.push(['read', offset, width])
      return value
    },
    write: (offset, width, written) => void calls.push(['write', offset, width, written]),
    read64: (offset) => {
      calls.push(['read64', offset])
      return BigInt(value)
    },
    write64: (offset, written) => void calls.push(['write64', offset, written]),
  }
}

const without64 = ({ name, read, write }: BusDevice): BusDevice => ({ name, read, write })

describe('attach', () => {
  test('refuses an overlap, naming both devices, and keeps the first', () => {
    const bus = new Bus('pio')
    const uart = recorder('uart0', 7)
    bus.attach(0x3f8, 8, uart)
    expect(() => bus.attach(0x3f0, 9, recorder('floppy'))).toThrow(
      expect.objectContaining({
        code: 'ERR_BUS_CONFLICT',
        message: 'pio: floppy at 0x3f0-0x3f8 overlaps uart0 at 0x3f8-0x3ff',
      }),
    )
    expect(bus.read(0x3f8, 1)).toBe(7)
    expect(bus.read(0x3f0, 1)).toBe(0xff)
  })

  test.each([
    ['pio', -1, 1],
    ['pio', 0x1_0000, 1],
    ['pio', 0xffff, 2],
    ['pio', 0, 0],
    ['pio', 0.5, 1],
    ['pio', Number.NaN, 1],
    ['pio', 0, Number.POSITIVE_INFINITY],
    ['mmio', 0, MMIO_SPACE_SIZE + 2],
    ['mmio', 2 ** 53, 1],
    ['mmio', Number.MAX_SAFE_INTEGER, 2],
  ] as const)('refuses %s %d, %d', (kind, base, size) => {
    const bus = new Bus(kind)
    expect(() => bus.attach(base, size, recorder('x'))).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION' }),
    )
    expect(bus.ranges).toEqual([])
  })

  test('takes the last address of each space', () => {
    const pio = new Bus('pio')
    pio.attach(0xffff, 1, recorder('last', 1))
    expect(pio.read(0xffff, 1)).toBe(1)
    const mmio = new Bus('mmio')
    mmio.attach(2 ** 52 - 4096, 4096, recorder('last', 1))
    expect(mmio.read(2 ** 52 - 4, 4)).toBe(1)
  })

  test('tells observers of what is there, what comes and what goes, until they are done', () => {
    const bus = new Bus('pio')
    const a = recorder('a')
    const b = recorder('b')
    const seen: string[] = []
    bus.attach(0, 1, a)
    const done = bus.observe({
      attached: ({ base, device }) => void seen.push(`+${device.name}@${base}`),
      detached: ({ base, device }) => void seen.push(`-${device.name}@${base}`),
    })
    bus.attach(8, 1, b)
    bus.detach(0)
    done()
    bus.detach(8)
    expect(seen).toEqual(['+a@0', '+b@8', '-a@0'])
  })

  test('is undone everywhere when an observer fails', () => {
    const bus = new Bus('pio')
    const gone: BusRange[] = []
    bus.observe({ attached: () => {}, detached: (range) => void gone.push(range) })
    bus.observe({
      attached: () => {
        throw new Error('no room')
      },
      detached: () => expect.unreachable(),
    })
    expect(() => bus.attach(0, 1, recorder('a'))).toThrow('no room')
    expect(bus.ranges).toEqual([])
    expect(gone).toHaveLength(1)
  })
})

test('detach frees the range, and refuses what is no base', () => {
  const bus = new Bus('mmio')
  bus.attach(0x1000, 0x1000, recorder('a', 1))
  expect(bus.read(0x1000, 4)).toBe(1)
  expect(() => bus.detach(0x1001)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION' }))
  bus.detach(0x1000)
  expect(bus.read(0x1000, 4)).toBe(0xffff_ffff)
  bus.attach(0x1800, 0x1000, recorder('b', 2))
  expect(bus.read(0x1800, 4)).toBe(2)
})

test('tells a device offsets, whole values, and cuts off excess bits', () => {
  const bus = new Bus('mmio')
  const device = recorder('a', -2)
  bus.attach(0xfee0_0000, 0x1000, device)
  expect(bus.read(0xfee0_0010, 1)).toBe(0xfe)
  expect(bus.read(0xfee0_0010, 2)).toBe(0xfffe)
  expect(bus.read(0xfee0_0010, 4)).toBe(0xffff_fffe)
  expect(bus.read64(0xfee0_0018)).toBe(0xffff_ffff_ffff_fffen)
  bus.write(0xfee0_0020, 1, 0x1ff)
  bus.write(0xfee0_0020, 4, -1)
  bus.write64(0xfee0_0028, -1n)
  expect(device.calls).toEqual([
    ['read', 0x10, 1],
    ['read', 0x10, 2],
    ['read', 0x10, 4],
    ['read64', 0x18],
    ['write', 0x20, 1, 0xff],
    ['write', 0x20, 4, 0xffff_ffff],
    ['write64', 0x28, 0xffff_ffff_ffff_ffffn],
  ])
  expect(bus.unclaimed).toBe(0)
})

test('an access that straddles, has an odd width or finds nobody reads ones, is not written, and counts', () => {
  const bus = new Bus('pio')
  const device = recorder('a')
  bus.attach(0x60, 5, device)
  bus.attach(0x65, 8, without64(device))
  expect(bus.read(0x63, 4)).toBe(0xffff_ffff)
  expect(bus.read(0x5f, 2)).toBe(0xffff)
  expect(bus.read(0x60, 3)).toBe(0xffff_ffff)
  expect(bus.read(0x60, 0)).toBe(0xffff_ffff)
  expect(bus.read(Number.NaN, 1)).toBe(0xff)
  expect(bus.read64(0x60)).toBe(0xffff_ffff_ffff_ffffn)
  expect(bus.read64(0x65)).toBe(0xffff_ffff_ffff_ffffn)
  bus.write(0x64, 2, 1)
  bus.write(0x60, 3, 1)
  bus.write(0x50, 1, 1)
  bus.write64(0x60, 1n)
  bus.write64(0x65, 1n)
  expect(device.calls).toEqual([])
  expect(bus.unclaimed).toBe(12)
})

test('a device may change the bus from within an access', () => {
  const bus = new Bus('mmio')
  const moved = recorder('moved', 3)
  bus.attach(0, 4, {
    name: 'bar',
    read: () => 0,
    write: (_offset, _width, value) => {
      bus.detach(16)
      bus.attach(value, 4, moved)
    },
  })
  bus.attach(16, 4, moved)
  expect(bus.read(16, 4)).toBe(3)
  bus.write(0, 4, 32)
  expect(bus.read(16, 4)).toBe(0xffff_ffff)
  expect(bus.read(32, 4)).toBe(3)
})

test('answers every access as a byte map does', () => {
  const ranges = fc.array(fc.record({ base: fc.nat(120), size: fc.integer({ min: 1, max: 16 }) }), {
    maxLength: 20,
  })
  const accesses = fc.array(
    fc.record({ address: fc.nat(140), width: fc.constantFrom(1, 2, 3, 4, 8), write: fc.boolean() }),
    { maxLength: 100 },
  )
  fc.assert(
    fc.property(ranges, accesses, (ranges, accesses) => {
      const bus = new Bus('pio')
      const owner = new Map<number, { device: ReturnType<typeof recorder>; base: number }>()
      const devices: ReturnType<typeof recorder>[] = []
      for (const { base, size } of ranges) {
        const device = recorder(`d${devices.length}`, devices.length)
        const free = Array.from({ length: size }, (_, i) => base + i).every((at) => !owner.has(at))
        if (!free) {
          expect(() => bus.attach(base, size, device)).toThrow('overlaps')
          continue
        }
        bus.attach(base, size, device)
        devices.push(device)
        for (let i = 0; i < size; i++) owner.set(base + i, { device, base })
      }
      let unclaimed = 0
      for (const { address, width, write } of accesses) {
        const first = owner.get(address)
        const last = owner.get(address + width - 1)
        const claimed =
          first !== undefined &&
          first.device === last?.device &&
          first.base === last.base &&
          width !== 3
        for (const device of devices) device.calls.length = 0
        if (!claimed) unclaimed++
        if (width === 8) {
          if (write) bus.write64(address, 5n)
          else {
            const value = claimed ? BigInt(devices.indexOf(first.device)) : 2n ** 64n - 1n
            expect(bus.read64(address)).toBe(value)
          }
        } else if (write) bus.write(address, width, 5)
        else {
          const ones = width === 3 ? 0xffff_ffff : 2 ** (8 * width) - 1
          expect(bus.read(address, width)).toBe(claimed ? devices.indexOf(first.device) : ones)
        }
        const calls = devices.flatMap((device) => device.calls)
        const offset = address - (first?.base ?? 0)
        const expected: Call[] = !claimed
          ? []
          : width === 8
            ? [write ? ['write64', offset, 5n] : ['read64', offset]]
            : [write ? ['write', offset, width, 5] : ['read', offset, width]]
        expect(calls).toEqual(expected)
        if (claimed && calls.length > 0) expect(first.device.calls).toEqual(expected)
      }
      expect(bus.unclaimed).toBe(unclaimed)
    }),
    { numRuns: 300 },
  )
})
