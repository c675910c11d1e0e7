import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import * as pm from '../../../lib/devices/legacy/acpi-pm.js'
import { FakeIrqLine } from '../../helpers/fake-irq-line.js'

let sci: FakeIrqLine
let now: bigint
let events: string[]
let device: pm.AcpiPm

function make(): pm.AcpiPm {
  sci = new FakeIrqLine(9)
  events = []
  return new pm.AcpiPm({
    sci,
    onPowerOff: () => events.push('off'),
    onReset: () => events.push('reset'),
    clock: () => now,
  })
}

beforeEach(() => {
  now = 1_000_000_000n
  device = make()
})

describe('general-purpose events', () => {
  it('raise the SCI when enabled, until their status is cleared by writing 1', () => {
    device.raiseGpe(1)
    expect(sci.level).toBe(false)
    device.write(pm.GPE0_EN, 1, 0b10)
    expect(sci.level).toBe(true)
    device.raiseGpe(7)
    expect(device.read(pm.GPE0_STS, 2)).toBe(0b10_1000_0010)
    device.write(pm.GPE0_STS, 1, 0b10)
    expect(sci.level).toBe(false)
    expect(device.read(pm.GPE0_STS, 1)).toBe(0x80)
    device.write(pm.GPE0_EN, 1, 0xff)
    expect(sci.level).toBe(true)
    device.reset()
    expect(sci.level).toBe(false)
    expect(device.read(pm.GPE0_STS, 2)).toBe(0)
  })
})

describe('power button', () => {
  it('raises the SCI when enabled, until its status bit is cleared by writing 1', () => {
    device.write(pm.PM1_EN, 2, pm.PWRBTN_STS)
    expect(device.powerButtonEnabled).toBe(true)
    expect(sci.level).toBe(false)
    device.pressPowerButton()
    expect(sci.level).toBe(true)
    expect(device.read(pm.PM1_STS, 2)).toBe(pm.PWRBTN_STS)
    device.write(pm.PM1_STS, 2, 0)
    expect(sci.level).toBe(true)
    device.write(pm.PM1_STS, 2, pm.PWRBTN_STS)
    expect(device.read(pm.PM1_STS, 2)).toBe(0)
    expect(sci.level).toBe(false)
  })

  it('is remembered when pressed before the guest listens', () => {
    device.pressPowerButton()
    expect(sci.level).toBe(false)
    device.write(pm.PM1_EN, 2, pm.PWRBTN_STS)
    expect(sci.level).toBe(true)
  })

  it('works byte by byte and as one dword', () => {
    device.write(pm.PM1_EN + 1, 1, 0x01)
    expect(device.read(pm.PM1_EN, 2)).toBe(pm.PWRBTN_STS)
    device.pressPowerButton()
    expect(device.read(pm.PM1_STS, 4)).toBe(0x0100_0100)
    device.write(pm.PM1_STS, 4, 0xffff_ffff)
    expect(device.read(pm.PM1_STS, 4)).toBe(0x0721_0000)
    expect(sci.level).toBe(false)
  })
})

describe('sleep', () => {
  it('powers off in S5, once', () => {
    device.write(pm.PM1_CNT, 2, (pm.SLP_TYP_S5 << 10) | pm.SLP_EN)
    device.write(pm.PM1_CNT, 2, (pm.SLP_TYP_S5 << 10) | pm.SLP_EN)
    expect(events).toEqual(['off'])
    device.reset()
    device.write(pm.PM1_CNT + 1, 1, (pm.SLP_TYP_S5 << 2) | 0x20)
    expect(events).toEqual(['off', 'off'])
  })

  it('wakes at once from any other state', () => {
    for (let type = 0; type < 8; type++) {
      if (type === pm.SLP_TYP_S5) continue
      device.reset()
      device.write(pm.PM1_CNT, 2, (type << 10) | pm.SLP_EN)
      expect(device.read(pm.PM1_STS, 2)).toBe(pm.WAK_STS)
    }
    expect(events).toEqual([])
  })

  it('needs SLP_EN, which reads as 0; SCI_EN reads as 1', () => {
    device.write(pm.PM1_CNT, 2, pm.SLP_TYP_S5 << 10)
    expect(events).toEqual([])
    expect(device.read(pm.PM1_CNT, 2)).toBe((pm.SLP_TYP_S5 << 10) | pm.SCI_EN)
    device.write(pm.PM1_CNT, 2, 0)
    expect(device.read(pm.PM1_CNT, 2)).toBe(pm.SCI_EN)
  })

  it('powers off by the sleep control register', () => {
    device.write(pm.SLEEP_CONTROL, 1, pm.SLP_TYP_S5 << 2)
    expect(events).toEqual([])
    expect(device.read(pm.SLEEP_CONTROL, 1)).toBe(pm.SLP_TYP_S5 << 2)
    device.write(pm.SLEEP_CONTROL, 1, (pm.SLP_TYP_S5 << 2) | 0x20)
    expect(events).toEqual(['off'])
    expect(device.read(pm.SLEEP_STATUS, 1)).toBe(0)
  })
})

it('resets by the reset value, once, and by no other', () => {
  for (let value = 0; value < 256; value++)
    if (value !== pm.RESET_VALUE) device.write(pm.RESET_REG, 1, value)
  expect(events).toEqual([])
  device.write(pm.RESET_REG, 1, pm.RESET_VALUE)
  device.write(pm.RESET_REG, 1, pm.RESET_VALUE)
  expect(events).toEqual(['reset'])
})

describe('PM timer', () => {
  it('counts 3,579,545 a second', () => {
    expect(device.read(pm.PM_TMR, 4)).toBe(0)
    now += 1_000_000_000n
    expect(device.read(pm.PM_TMR, 4)).toBe(pm.PM_TIMER_FREQUENCY)
    now += 1_000_000_000n
    expect(device.read(pm.PM_TMR, 2)).toBe((2 * pm.PM_TIMER_FREQUENCY) & 0xffff)
  })

  it('wraps at 32 bits', () => {
    now += 1_300_000_000_000n
    expect(device.read(pm.PM_TMR, 4)).toBe((1300 * pm.PM_TIMER_FREQUENCY) % 2 ** 32)
  })

  it('is read only', () => {
    device.write(pm.PM_TMR, 4, 0xffff_ffff)
    expect(device.read(pm.PM_TMR, 4)).toBe(0)
  })
})

it('answers any sequence of accesses of any width, each event at most once', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          store: fc.boolean(),
          offset: fc.nat(15),
          width: fc.constantFrom<1 | 2 | 4>(1, 2, 4),
          value: fc.nat(0xffff_ffff),
        }),
        { maxLength: 200, size: 'max' },
      ),
      (accesses) => {
        const fuzzed = make()
        for (const { store, offset, width, value } of accesses) {
          if (offset + width > pm.ACPI_PM_PORTS) continue
          if (store) fuzzed.write(offset, width, value)
          else {
            const read = fuzzed.read(offset, width)
            if (!(read >= 0 && read < 2 ** (8 * width)))
              expect.fail(`offset ${offset} reads ${read}`)
          }
          const pending = fuzzed.read(pm.PM1_STS, 2) & fuzzed.read(pm.PM1_EN, 2)
          expect(sci.level).toBe(pending !== 0)
        }
        expect(events.filter((event) => event === 'off').length).toBeLessThanOrEqual(1)
        expect(events.filter((event) => event === 'reset').length).toBeLessThanOrEqual(1)
      },
    ),
  )
})
