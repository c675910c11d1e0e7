import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import * as esb from '../../../lib/devices/watchdog/i6300esb.js'
import { ManualTimer } from './manual-timer.js'

const ENABLE = 2
const LOCK = 1

describe('I6300esb', () => {
  let timer: ManualTimer
  let expired = 0
  let watchdog: esb.I6300esb

  beforeEach(() => {
    timer = new ManualTimer()
    expired = 0
    watchdog = new esb.I6300esb({
      onExpire: () => expired++,
      clock: timer.clock,
      schedule: timer.schedule,
    })
  })

  const registers = () => watchdog.bars[0]!.device
  const write = (register: number, value: number) => {
    registers().write(esb.ESB_RELOAD_REG, 2, esb.ESB_UNLOCK1)
    registers().write(esb.ESB_RELOAD_REG, 2, esb.ESB_UNLOCK2)
    registers().write(register, register === esb.ESB_RELOAD_REG ? 2 : 4, value)
  }
  /** As Linux sets it up: no interrupt, and so many seconds in both stages together. */
  const start = (seconds: number, lock = 0) => {
    watchdog.writeConfig(esb.ESB_CONFIG_REG, 2, 3)
    write(esb.ESB_TIMER1_REG, seconds << 9)
    write(esb.ESB_TIMER2_REG, seconds << 9)
    watchdog.writeConfig(esb.ESB_LOCK_REG, 1, ENABLE | lock)
  }
  const feed = () => write(esb.ESB_RELOAD_REG, esb.ESB_WDT_RELOAD)

  it.each([1, 10, 30])('gives %i seconds, and is fed', (seconds) => {
    start(seconds)
    timer.advance(seconds * 900)
    feed()
    timer.advance(seconds * 1000)
    expect([expired, watchdog.running]).toEqual([0, true])
    timer.advance(seconds * 20)
    expect([expired, watchdog.running]).toEqual([1, false])
    expect(registers().read(esb.ESB_RELOAD_REG, 2)).toBe(esb.ESB_WDT_TIMEOUT)
    write(esb.ESB_RELOAD_REG, esb.ESB_WDT_TIMEOUT | esb.ESB_WDT_RELOAD)
    expect(registers().read(esb.ESB_RELOAD_REG, 2)).toBe(0)
  })

  it('takes nothing without the two words before it', () => {
    start(10)
    timer.advance(9000)
    registers().write(esb.ESB_RELOAD_REG, 2, esb.ESB_WDT_RELOAD)
    registers().write(esb.ESB_RELOAD_REG, 2, esb.ESB_UNLOCK2)
    registers().write(esb.ESB_RELOAD_REG, 2, esb.ESB_WDT_RELOAD)
    timer.advance(1500)
    expect(expired).toBe(1)
  })

  it('stops, unless it was locked', () => {
    start(10)
    watchdog.writeConfig(esb.ESB_LOCK_REG, 1, 0)
    expect(watchdog.running).toBe(false)
    start(10, LOCK)
    watchdog.writeConfig(esb.ESB_LOCK_REG, 1, 0)
    expect([watchdog.running, watchdog.readConfig(esb.ESB_LOCK_REG, 1)]).toEqual([true, 3])
    watchdog.reset()
    expect([watchdog.running, watchdog.readConfig(esb.ESB_LOCK_REG, 1)]).toEqual([false, 0])
  })

  it('stands still while the machine is paused, and ends with it', () => {
    start(10)
    timer.advance(4000)
    watchdog.pause()
    timer.advance(100_000)
    watchdog.resume()
    timer.advance(5000)
    expect(expired).toBe(0)
    timer.advance(1500)
    expect(expired).toBe(1)
    start(10)
    watchdog.close()
    timer.advance(100_000)
    expect(expired).toBe(1)
  })

  it('never throws, and never asks for a timer of no time', () => {
    const access = fc.record({
      config: fc.boolean(),
      offset: fc.oneof(fc.nat(0x0f), fc.constantFrom(0x60, 0x62, 0x68)),
      width: fc.constantFrom(1, 2, 4 as const),
      value: fc.oneof(fc.constantFrom(0x80, 0x86, 0x100, 0x300), fc.nat(0xffff_ffff)),
    })
    fc.assert(
      fc.property(fc.array(access, { maxLength: 50 }), (accesses) => {
        for (const { config, offset, width, value } of accesses) {
          if (config) watchdog.writeConfig(offset, width, value)
          else registers().write(offset, width, value)
          expect(registers().read(offset, width)).toBeLessThan(2 ** (8 * width))
          const { now, dueAt = Infinity } = timer
          expect(dueAt).toBeGreaterThanOrEqual(now + 1)
        }
        watchdog.reset()
      }),
    )
  })
})
