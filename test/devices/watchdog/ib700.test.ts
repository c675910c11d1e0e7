import { beforeEach, describe, expect, it } from 'vitest'
import { IB700_START, IB700_STOP, Ib700 } from '../../../lib/devices/watchdog/ib700.js'
import { ManualTimer } from './manual-timer.js'

describe('Ib700', () => {
  let timer: ManualTimer
  let expired = 0
  let watchdog: Ib700

  beforeEach(() => {
    timer = new ManualTimer()
    expired = 0
    watchdog = new Ib700({
      onExpire: () => expired++,
      clock: timer.clock,
      schedule: timer.schedule,
    })
  })

  it.each([
    [0, 30],
    [1, 28],
    [14, 2],
    [0xfe, 2],
    [15, 0],
  ])('written %i, waits %i s', (value, seconds) => {
    watchdog.write(IB700_START, 1, value)
    if (seconds > 0) {
      expect(watchdog.running).toBe(true)
      timer.advance(seconds * 1000 - 1)
      expect(expired).toBe(0)
    }
    timer.advance(1)
    expect(expired).toBe(1)
    expect(watchdog.running).toBe(false)
  })

  it('starts anew when fed, and ends when stopped', () => {
    watchdog.write(IB700_START, 1, 10)
    timer.advance(9000)
    watchdog.write(IB700_START, 1, 10)
    timer.advance(9000)
    expect(expired).toBe(0)
    watchdog.write(IB700_STOP, 1, 0)
    timer.advance(100_000)
    expect(expired).toBe(0)
  })

  it('stands still while the machine is paused', () => {
    watchdog.resume()
    watchdog.write(IB700_START, 1, 10)
    timer.advance(4000)
    watchdog.pause()
    timer.advance(100_000)
    expect(watchdog.running).toBe(true)
    watchdog.resume()
    timer.advance(5999)
    expect(expired).toBe(0)
    timer.advance(1)
    expect(expired).toBe(1)
  })

  it('forgets all when the machine is reset, and does nothing for other ports', () => {
    watchdog.write(IB700_START, 1, 10)
    watchdog.reset()
    watchdog.write(1, 1, 10)
    watchdog.write(3, 1, 10)
    expect(watchdog.running).toBe(false)
    expect(watchdog.read(0, 1)).toBe(0xff)
  })
})
