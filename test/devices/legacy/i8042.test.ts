import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import {
  I8042,
  I8042_COMMAND,
  I8042_DATA,
  I8042_STR_OBF,
} from '../../../lib/devices/legacy/i8042.js'
import { FakeIrqLine } from '../../helpers/fake-irq-line.js'

let resets: number
let irq: FakeIrqLine
let i8042: I8042

beforeEach(() => {
  resets = 0
  irq = new FakeIrqLine(1)
  i8042 = new I8042({ onReset: () => resets++, irq })
})

const status = () => i8042.read(I8042_COMMAND, 1)
const command = (value: number) => i8042.write(I8042_COMMAND, 1, value)
const data = (value: number) => i8042.write(I8042_DATA, 1, value)
function answer(): number {
  expect(status() & I8042_STR_OBF).toBe(I8042_STR_OBF)
  return i8042.read(I8042_DATA, 1)
}

describe("what Linux's i8042 driver asks", () => {
  it('is never busy, has nothing to flush, and is not locked', () => {
    expect(status() & 0x03).toBe(0)
    expect(status() & 0x10).toBe(0x10)
  })

  it('shows both errors while it has no byte, by which OVMF looks for no keyboard', () => {
    expect(status() & 0xc0).toBe(0xc0)
    command(0xaa)
    expect(status() & 0xc0).toBe(0)
    answer()
    expect(status() & 0xc0).toBe(0xc0)
  })

  it('passes the self-test', () => {
    command(0xaa)
    expect(answer()).toBe(0x55)
    expect(status() & I8042_STR_OBF).toBe(0)
  })

  it('keeps the command byte', () => {
    command(0x20)
    const before = answer()
    expect(before & 0x30).toBe(0x30)
    command(0x60)
    data(before & ~0x10)
    command(0x20)
    expect(answer()).toBe(before & ~0x10)
  })

  it('has no auxiliary port', () => {
    command(0xd3)
    data(0x5a)
    expect(status() & 0x20).toBe(0)
    expect(answer()).toBe(0x5a)
    command(0xa9)
    expect([0, 0xfa, 0xff]).not.toContain(answer())
  })

  it('shows the disable bits of the auxiliary and keyboard ports', () => {
    for (const [off, on, bit] of [
      [0xa7, 0xa8, 0x20],
      [0xad, 0xae, 0x10],
    ] as const) {
      command(on)
      command(0x20)
      expect(answer() & bit).toBe(0)
      command(off)
      command(0x20)
      expect(answer() & bit).toBe(bit)
    }
  })

  it('answers for the keyboard at once that it timed out, with an interrupt if enabled', () => {
    data(0xf2)
    expect(irq.level).toBe(false)
    expect(status() & 0x40).toBe(0x40)
    expect(answer()).toBe(0xfe)
    command(0x60)
    data(0x05)
    data(0xff)
    expect(irq.level).toBe(true)
    expect(answer()).toBe(0xfe)
    expect(irq.level).toBe(false)
    command(0xd4)
    data(0xf2)
    expect(status() & 0x60).toBe(0x60)
    expect(answer()).toBe(0xfe)
  })
})

describe('reset', () => {
  it('comes with command 0xFE, once', () => {
    command(0xfe)
    command(0xfe)
    expect(resets).toBe(1)
    i8042.reset()
    command(0xfe)
    expect(resets).toBe(2)
  })

  it('comes with every pulse of line 0 and no other', () => {
    for (let value = 0xf0; value <= 0xff; value++) {
      i8042.reset()
      resets = 0
      command(value)
      expect(resets).toBe(value & 1 ? 0 : 1)
    }
  })

  it('comes through the output port', () => {
    command(0xd1)
    data(0xdf)
    expect(resets).toBe(0)
    command(0xd1)
    data(0xde)
    expect(resets).toBe(1)
  })
})

it('keeps A20', () => {
  expect(i8042.a20).toBe(true)
  command(0xdd)
  expect(i8042.a20).toBe(false)
  command(0xdf)
  expect(i8042.a20).toBe(true)
  command(0xd1)
  data(0x01)
  expect(i8042.a20).toBe(false)
  command(0xd0)
  expect(answer()).toBe(0x01)
})

it('keeps 32 bytes of RAM and answers the rest of the commands', () => {
  for (let i = 1; i < 32; i++) {
    command(0x60 + i)
    data(0x80 + i)
  }
  for (let i = 1; i < 32; i++) {
    command(0x20 + i)
    expect(answer()).toBe(0x80 + i)
  }
  command(0xc0)
  expect(answer()).toBe(0x80)
  command(0xe0)
  expect(answer()).toBe(0)
  command(0xab)
  expect(answer()).not.toBe(0)
  command(0xd2)
  data(0x1c)
  expect(answer()).toBe(0x1c)
})

it('is not there at other ports and widths', () => {
  expect(i8042.read(1, 1)).toBe(0xff)
  expect(i8042.read(0, 2)).toBe(0xffff)
  i8042.write(4, 2, 0xfefe)
  i8042.write(4, 4, 0xfefefefe)
  i8042.write(1, 1, 0xfe)
  expect(resets).toBe(0)
})

it('answers any sequence of accesses with bytes', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.boolean(), fc.nat(4), fc.nat(255)), { maxLength: 200, size: 'max' }),
      (accesses) => {
        resets = 0
        const device = new I8042({ onReset: () => resets++ })
        for (const [write, offset, value] of accesses) {
          if (write) device.write(offset, 1, value)
          else if (!(device.read(offset, 1) >= 0 && device.read(offset, 1) <= 255))
            expect.fail('not a byte')
        }
        expect(resets).toBeLessThanOrEqual(1)
      },
    ),
  )
})
