import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as rtc from '../../../lib/devices/legacy/cmos-rtc.js'

const START = Date.UTC(2026, 1, 28, 23, 59, 58)

/** The registers of a time, the century first. */
const TIME = [
  rtc.RTC_CENTURY,
  rtc.RTC_YEAR,
  rtc.RTC_MONTH,
  rtc.RTC_DAY_OF_MONTH,
  rtc.RTC_HOURS,
  rtc.RTC_MINUTES,
  rtc.RTC_SECONDS,
]

function setup(start = START) {
  const host = { now: start }
  const cmos = new rtc.CmosRtc({ clock: () => host.now })
  const read = (index: number) => {
    cmos.write(0, 1, index)
    return cmos.read(1, 1)
  }
  const write = (index: number, value: number) => {
    cmos.write(0, 1, index)
    cmos.write(1, 1, value)
  }
  const time = () => TIME.map(read)
  return { host, cmos, read, write, time }
}

describe('reading the time', () => {
  it('gives UTC in BCD and 24 hours as it comes', () => {
    const { time, read } = setup()
    expect(time()).toEqual([0x20, 0x26, 0x02, 0x28, 0x23, 0x59, 0x58])
    expect(read(rtc.RTC_DAY_OF_WEEK)).toBe(7)
  })

  it('gives binary when register B says so', () => {
    const { time, write } = setup()
    write(rtc.RTC_REG_B, 0x06)
    expect(time()).toEqual([20, 26, 2, 28, 23, 59, 58])
  })

  it.each([
    [0, 0x12],
    [1, 0x01],
    [11, 0x11],
    [12, 0x92],
    [13, 0x81],
    [23, 0x91],
  ])('gives %i o’clock as %i in 12-hour mode', (hour, expected) => {
    const { read, write } = setup(Date.UTC(2026, 0, 1, hour))
    write(rtc.RTC_REG_B, 0)
    expect(read(rtc.RTC_HOURS)).toBe(expected)
  })

  it('follows the clock over the end of a month', () => {
    const { host, time } = setup()
    host.now += 2000
    expect(time()).toEqual([0x20, 0x26, 0x03, 0x01, 0x00, 0x00, 0x00])
  })

  it('shows an update in progress at the end of each second only', () => {
    const { host, read } = setup()
    expect(read(rtc.RTC_REG_A)).toBe(0x26)
    host.now = START + 997
    expect(read(rtc.RTC_REG_A)).toBe(0x26)
    host.now = START + 998
    expect(read(rtc.RTC_REG_A)).toBe(0xa6)
    host.now = START + 1000
    expect(read(rtc.RTC_REG_A)).toBe(0x26)
  })

  it('shows no update while the clock is stopped', () => {
    const { host, read, write } = setup()
    host.now = START + 999
    write(rtc.RTC_REG_B, rtc.RTC_SET | 0x02)
    expect(read(rtc.RTC_REG_A)).toBe(0x26)
    write(rtc.RTC_REG_B, 0x02)
    write(rtc.RTC_REG_A, 0x76)
    expect(read(rtc.RTC_REG_A)).toBe(0x76)
  })

  it('reports a changed second once in register C', () => {
    const { host, read } = setup()
    expect(read(rtc.RTC_REG_C)).toBe(0)
    host.now += 1000
    expect(read(rtc.RTC_REG_C)).toBe(rtc.RTC_UF)
    expect(read(rtc.RTC_REG_C)).toBe(0)
  })

  it('says that RAM and time are valid', () => {
    const { read, write } = setup()
    write(rtc.RTC_REG_D, 0)
    expect(read(rtc.RTC_REG_D)).toBe(0x80)
  })
})

describe('setting the time', () => {
  it.each([
    ['BCD, 24 hours', 0x02, [0x19, 0x99, 0x12, 0x31, 0x23, 0x59, 0x59]],
    ['binary, 24 hours', 0x06, [19, 99, 12, 31, 23, 59, 59]],
    ['BCD, 12 hours', 0x00, [0x19, 0x99, 0x12, 0x31, 0x91, 0x59, 0x59]],
    ['binary, 12 hours', 0x04, [19, 99, 12, 31, 0x8b, 59, 59]],
  ])('takes %s as Linux writes it: stop, write, go', (_name, mode, values) => {
    const { host, cmos, time, write } = setup()
    write(rtc.RTC_REG_B, rtc.RTC_SET | mode)
    for (const [i, index] of TIME.entries()) write(index, values[i]!)
    host.now += 5000
    expect(time()).toEqual(values)
    write(rtc.RTC_REG_B, mode)
    expect(time()).toEqual(values)
    host.now += 1000
    expect(cmos.time).toBe(Date.UTC(2000, 0, 1))
  })

  it('takes one register while the clock runs', () => {
    const { host, cmos, write } = setup()
    write(rtc.RTC_MINUTES, 0x30)
    expect(cmos.time).toBe(Date.UTC(2026, 1, 28, 23, 30, 58))
    host.now += 250
    write(rtc.RTC_SECONDS, 0x00)
    expect(cmos.time).toBe(Date.UTC(2026, 1, 28, 23, 30, 0, 250))
  })

  it('stops with the divider and goes on from there', () => {
    const { host, time, write } = setup()
    write(rtc.RTC_REG_A, 0x76)
    host.now += 3_600_000
    expect(time()).toEqual([0x20, 0x26, 0x02, 0x28, 0x23, 0x59, 0x58])
    write(rtc.RTC_REG_A, 0x26)
    host.now += 1000
    expect(time()).toEqual([0x20, 0x26, 0x02, 0x28, 0x23, 0x59, 0x59])
  })
})

describe('CMOS memory', () => {
  it('keeps every byte that is no clock register', () => {
    const { read, write } = setup()
    for (let index = 0x0e; index < 128; index++)
      if (index !== rtc.RTC_CENTURY) write(index, index ^ 0xa5)
    for (const index of [rtc.RTC_SECONDS_ALARM, rtc.RTC_MINUTES_ALARM, rtc.RTC_HOURS_ALARM])
      write(index, index ^ 0xa5)
    for (let index = 0x0e; index < 128; index++)
      if (index !== rtc.RTC_CENTURY) expect(read(index)).toBe(index ^ 0xa5)
    for (const index of [rtc.RTC_SECONDS_ALARM, rtc.RTC_MINUTES_ALARM, rtc.RTC_HOURS_ALARM])
      expect(read(index)).toBe(index ^ 0xa5)
  })

  it('takes bit 7 of the index for NMI, not for an address', () => {
    const { cmos, read } = setup()
    expect(read(0x80 | rtc.RTC_SECONDS)).toBe(0x58)
    expect(cmos.nmiMasked).toBe(true)
    read(rtc.RTC_SECONDS)
    expect(cmos.nmiMasked).toBe(false)
  })

  it('has no readable index port and no wider registers', () => {
    const { cmos } = setup()
    expect(cmos.read(0, 1)).toBe(0xff)
    expect(cmos.read(1, 2)).toBe(0xffff)
    cmos.write(0, 2, 0x0b)
    cmos.write(1, 4, 0xff)
    expect(cmos.time).toBe(START)
  })
})

it('answers any sequence of accesses with bytes, and always has a time', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.boolean(), fc.nat(255), fc.nat(255), fc.nat(2000)), {
        maxLength: 200,
        size: 'max',
      }),
      (accesses) => {
        const { host, cmos, read, write } = setup()
        for (const [store, index, value, pass] of accesses) {
          host.now += pass
          if (store) write(index, value)
          const byte = read(index)
          if (!(byte >= 0 && byte <= 255)) expect.fail(`register ${index} reads ${byte}`)
          if (!Number.isFinite(cmos.time)) expect.fail(`time is ${cmos.time}`)
        }
      },
    ),
  )
})
