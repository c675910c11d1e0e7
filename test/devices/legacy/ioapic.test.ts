import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  IOAPIC_EOI,
  IOAPIC_IOREGSEL,
  IOAPIC_IOWIN,
  Ioapic,
  type IoapicMessage,
} from '../../../lib/devices/legacy/ioapic.js'

const LEVEL = 1 << 15
const MASKED = 1 << 16
const REMOTE_IRR = 1 << 14

function rig(pins = 24) {
  const sent: IoapicMessage[] = []
  const routes = new Map<number, IoapicMessage | undefined>()
  const ioapic = new Ioapic({
    pins,
    send: (message) => sent.push(message),
    route: (pin, message) => routes.set(pin, message),
  })
  const write = (register: number, value: number) => {
    ioapic.write(IOAPIC_IOREGSEL, 4, register)
    ioapic.write(IOAPIC_IOWIN, 4, value)
  }
  const read = (register: number) => {
    ioapic.write(IOAPIC_IOREGSEL, 4, register)
    return ioapic.read(IOAPIC_IOWIN, 4)
  }
  const program = (pin: number, low: number, high = 0) => {
    write(0x11 + 2 * pin, high)
    write(0x10 + 2 * pin, low)
  }
  const entry = (pin: number) => read(0x10 + 2 * pin)
  return { ioapic, sent, routes, write, read, program, entry }
}

describe('an I/O APIC', () => {
  it('tells how many pins it has, and which it is', () => {
    const { read, write } = rig()
    expect(read(1)).toBe(0x17_0020)
    write(0, 0xffff_ffff)
    expect([read(0), read(2)]).toEqual([0x0f00_0000, 0x0f00_0000])
    expect([read(0x0f), read(0x40), read(0xff)]).toEqual([0, 0, 0])
  })

  it('has all pins masked at first, and keeps what is written but the read-only bits', () => {
    const { entry, read, program } = rig()
    expect(Array.from({ length: 24 }, (_, pin) => entry(pin))).toEqual(Array(24).fill(MASKED))
    program(3, 0xffff_ffff, 0xffff_ffff)
    expect([entry(3), read(0x11 + 6)]).toEqual([0x1_afff, 0xff00_0000])
  })

  it('sends an edge as the message that the entry says, and none while masked', () => {
    const { ioapic, sent, program, routes } = rig()
    const line = ioapic.line(4)
    line.pulse()
    program(4, 0x31 | (1 << 11) | (1 << 8), 0x0500_0000)
    const message = { addressLow: 0xfee0_5004, addressHigh: 0, data: 0x4131 }
    expect(sent).toEqual([])
    expect(routes.get(4)).toEqual(message)
    line.assert()
    line.assert()
    expect(sent).toEqual([message])
    line.deassert()
    line.pulse()
    expect(sent).toHaveLength(2)
    program(4, 0x31 | MASKED)
    line.pulse()
    expect([sent.length, routes.get(4)]).toEqual([2, undefined])
  })

  it('sends a level once until its end, and again while the line is up', () => {
    const { ioapic, sent, program, entry } = rig()
    const [one, other] = [ioapic.line(9), ioapic.line(9)]
    program(9, 0x41 | LEVEL)
    one.assert()
    other.assert()
    expect(sent).toHaveLength(1)
    expect(entry(9) & REMOTE_IRR).not.toBe(0)
    one.deassert()
    ioapic.endOfInterrupt(0x40)
    expect(sent).toHaveLength(1)
    ioapic.endOfInterrupt(0x41)
    expect(sent).toHaveLength(2)
    other.deassert()
    ioapic.write(IOAPIC_EOI, 4, 0x41)
    expect([sent.length, entry(9) & REMOTE_IRR]).toEqual([2, 0])
  })

  it('sends a level that came while it was masked, and hears of its end when masked in service', () => {
    const { ioapic, sent, program, routes, entry } = rig()
    const line = ioapic.line(9)
    line.assert()
    program(9, 0x41 | LEVEL)
    expect(sent).toHaveLength(1)
    program(9, 0x41 | LEVEL | MASKED)
    expect(routes.get(9)).toMatchObject({ data: 0xc041 })
    ioapic.endOfInterrupt(0x41)
    expect([sent.length, entry(9) & REMOTE_IRR]).toEqual([1, 0])
    program(9, 0x41 | LEVEL)
    expect(sent).toHaveLength(2)
  })

  it('ends a level that is made an edge', () => {
    const { ioapic, program, entry } = rig()
    program(9, 0x41 | LEVEL)
    ioapic.line(9).assert()
    program(9, 0x41 | MASKED)
    expect(entry(9) & REMOTE_IRR).toBe(0)
  })

  it('is as at first after a reset, whatever was before', () => {
    const { ioapic, sent, program, entry, routes } = rig()
    const line = ioapic.line(9)
    program(9, 0x41 | LEVEL)
    line.assert()
    ioapic.reset()
    expect([entry(9), routes.get(9)]).toEqual([MASKED, undefined])
    program(9, 0x41 | LEVEL)
    expect(sent).toHaveLength(2)
  })

  it('takes any accesses, and never sends of a masked pin', () => {
    const access = fc.tuple(
      fc.constantFrom(IOAPIC_IOREGSEL, IOAPIC_IOWIN, IOAPIC_EOI, 0x20, 0xffc),
      fc.constantFrom(1, 2, 4 as const),
      fc.oneof(fc.nat(0x3f), fc.nat(0xffff_ffff)),
      fc.nat(23),
    )
    fc.assert(
      fc.property(fc.array(access, { maxLength: 100 }), (accesses) => {
        const { ioapic, sent, entry } = rig()
        for (const [offset, width, value, pin] of accesses) {
          ioapic.write(offset, width, value)
          const answer = ioapic.read(offset, width)
          expect(answer).toBeGreaterThanOrEqual(0)
          expect(answer).toBeLessThan(2 ** (8 * width))
          const before = sent.length
          const masked = (entry(pin) & MASKED) !== 0
          ioapic.line(pin).pulse()
          if (masked) expect(sent.length).toBe(before)
        }
      }),
    )
  })
})
