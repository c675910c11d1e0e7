import { beforeEach, describe, expect, it } from 'vitest'
import { IB700_START, IB700_STOP, Ib700 } from '../../../lib/devices/watchdog/ib700.js'

describe('Ib700', () => {
  let now = 0
  let due: { at: number; callback: () => void } | undefined
  let expired = 0
  let watchdog: Ib700

  beforeEach(() => {
    now = expired = 0
    due = undefined
    watchdog = new Ib700({
      onExpire: () => expired++,
      clock: () => now,
      schedule: (callback, milliseconds) => {
        const mine = { at: now + milliseconds, callback }
        due = mine
        return () => {
          if (due === mine) due = undefined
        }
      },
    })
  })

  function advance(milliseconds: number): void {
    now += milliseconds
    if (!due || due.at > now) return
    const { callback } = due
    due = undefined
    callback()
  }

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
      advance(seconds * 1000 - 1)
      expect(expired).toBe(0)
    }
    advance(1)
    expect(expired).toBe(1)
    expect(watchdog.running).toBe(false)
  })

  it('starts anew when fed, and ends when stopped', () => {
    watchdog.write(IB700_START, 1, 10)
    advance(9000)
    watchdog.write(IB700_START, 1, 10)
    advance(9000)
    expect(expired).toBe(0)
    watchdog.write(IB700_STOP, 1, 0)
    advance(100_000)
    expect(expired).toBe(0)
  })

  it('stands still while the machine is paused', () => {
    watchdog.resume()
    watchdog.write(IB700_START, 1, 10)
    advance(4000)
    watchdog.pause()
    advance(100_000)
    expect(watchdog.running).toBe(true)
    watchdog.resume()
    advance(5999)
    expect(expired).toBe(0)
    advance(1)
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
