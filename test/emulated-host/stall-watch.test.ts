import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { StallWatch } from '../../lib/emulated-host/stall-watch.js'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

describe('StallWatch', () => {
  it('lets a host take its time to boot, and then wants signs of life', () => {
    const onStall = vi.fn()
    const watch = new StallWatch(onStall, 10_000)
    watch.start()
    vi.advanceTimersByTime(100_000)
    watch.alive()
    vi.advanceTimersByTime(9_000)
    watch.alive()
    vi.advanceTimersByTime(9_000)
    expect(onStall).not.toHaveBeenCalled()
    vi.advanceTimersByTime(2_000)
    expect(onStall).toHaveBeenCalledTimes(1)
    vi.advanceTimersByTime(1_000_000)
    expect(onStall).toHaveBeenCalledTimes(1)
  })

  it('calls back for a host that never comes up', () => {
    const onStall = vi.fn()
    new StallWatch(onStall, 10_000).start()
    vi.advanceTimersByTime(200_000)
    expect(onStall).toHaveBeenCalledTimes(1)
  })

  it('does not count time in which this process did not run', () => {
    const onStall = vi.fn()
    const watch = new StallWatch(onStall, 10_000)
    watch.start()
    watch.alive()
    // The clock jumps, as when the machine slept, and one tick follows.
    vi.setSystemTime(Date.now() + 3_600_000)
    const now = performance.now()
    vi.spyOn(performance, 'now').mockReturnValue(now + 3_600_000)
    vi.advanceTimersByTime(1_000)
    expect(onStall).not.toHaveBeenCalled()
    vi.restoreAllMocks()
    watch.stop()
  })

  it('is silent once stopped', () => {
    const onStall = vi.fn()
    const watch = new StallWatch(onStall, 10_000)
    watch.start()
    watch.stop()
    vi.advanceTimersByTime(1_000_000)
    expect(onStall).not.toHaveBeenCalled()
  })
})
