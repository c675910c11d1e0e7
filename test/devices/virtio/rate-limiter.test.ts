import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { type RateLimit, RateLimiter } from '../../../lib/devices/virtio/rate-limiter.js'

describe('RateLimiter', () => {
  it('lets a burst through, then the rate', () => {
    let now = 0
    const limiter = new RateLimiter(
      'limit',
      { operations: { perSecond: 100, burst: 10 } },
      () => now,
    )
    for (let i = 0; i < 10; i++) {
      expect(limiter.delay).toBe(0)
      limiter.spend(0)
    }
    expect(limiter.delay).toBeGreaterThan(0)
    now += 9.9
    limiter.spend(0)
    expect(limiter.delay).toBeGreaterThan(0)
    now += 10.2
    expect(limiter.delay).toBe(0)
  })

  it('never lets more through than rate and burst, and the last operation, come to', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ wait: fc.nat(50), bytes: fc.integer({ min: 1, max: 5000 }) }), {
          minLength: 1,
        }),
        (steps) => {
          let now = 0
          let sent = 0
          const limiter = new RateLimiter(
            'limit',
            { bytes: { perSecond: 10_000, burst: 2000 } },
            () => now,
          )
          for (const { wait, bytes } of steps) {
            now += wait
            if (limiter.delay > 0) continue
            limiter.spend(bytes)
            sent += bytes
          }
          expect(sent).toBeLessThanOrEqual(2000 + now * 10 + 5000)
        },
      ),
    )
  })

  it('waits for longer than a timer of Node can', async () => {
    const slow = { operations: { perSecond: 1e-7, burst: 1e-7 } }
    const limiter = new RateLimiter('limit', slow)
    limiter.spend(0)
    expect(limiter.delay).toBeGreaterThan(2 ** 31)
    let calls = 0
    expect(limiter.admit(() => calls++)).toBe(false)
    await new Promise((resolve) => setTimeout(resolve, 30))
    limiter.cancel()
    expect(calls).toBe(0)
  })

  it('goes on waiting when the longest timer has ended', () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    try {
      const limiter = new RateLimiter('limit', { operations: { perSecond: 1e-7, burst: 1e-7 } })
      limiter.spend(0)
      let calls = 0
      limiter.admit(() => calls++)
      vi.advanceTimersByTime(9e9)
      expect(calls).toBe(0)
      vi.advanceTimersByTime(2e9)
      expect(calls).toBe(1)
    } finally {
      vi.useRealTimers()
    }
  })

  it('wakes whoever waits by a limit that is lifted or loosened, and by no other', async () => {
    const slow = { operations: { perSecond: 1e-7, burst: 1e-7 } }
    const limiter = new RateLimiter('limit', slow)
    let calls = 0
    const wait = () => {
      limiter.spend(0)
      return limiter.admit(() => calls++)
    }
    expect(wait()).toBe(false)
    limiter.set(slow) // with a burst of its own
    expect(calls).toBe(1)
    expect(wait()).toBe(false)
    limiter.set(null)
    expect(calls).toBe(2)
    expect(wait()).toBe(true)
    limiter.set({ bytes: { perSecond: 1000, burst: 1 } })
    expect(limiter.admit(() => calls++)).toBe(true)
    limiter.spend(5)
    await new Promise<void>((resolve) => expect(limiter.admit(resolve)).toBe(false))
    expect(calls).toBe(2)
  })

  it('stays as it was when it is given what is no limit', () => {
    const limiter = new RateLimiter('limit', { operations: { perSecond: 1e-7, burst: 1e-7 } })
    limiter.spend(0)
    for (const wrong of [5, [], 'fast', { iops: 1 }, { bytes: {} }, { bytes: { perSecond: -1 } }])
      expect(() => limiter.set(wrong as RateLimit)).toThrow(
        expect.objectContaining({ code: 'ERR_INVALID_OPTION' }),
      )
    expect(limiter.delay).toBeGreaterThan(0)
  })

  it('calls whoever waits, once', async () => {
    const limiter = new RateLimiter('limit', { operations: { perSecond: 500, burst: 1 } })
    expect(limiter.admit(() => {})).toBe(true)
    limiter.spend(0)
    limiter.spend(0)
    let calls = 0
    await new Promise<void>((resolve) => {
      const resume = () => {
        calls++
        resolve()
      }
      expect(limiter.admit(resume)).toBe(false)
      expect(limiter.admit(resume)).toBe(false)
    })
    expect(calls).toBe(1)
  })

  it.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY, '5'])(
    'refuses a rate of %j',
    (perSecond) => {
      expect(() => new RateLimiter('limit', { bytes: { perSecond: perSecond as number } })).toThrow(
        expect.objectContaining({ code: 'ERR_INVALID_OPTION', option: 'limit.bytes.perSecond' }),
      )
    },
  )
})
