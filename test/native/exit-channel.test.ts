import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { binding, type NativeExitChannel, type NativeRoute } from '../../lib/binding.js'

const invalid = (option: string) => expect.objectContaining({ code: 'ERR_INVALID_OPTION', option })
const words = (...values: number[]) => Uint32Array.from(values)
const none = words()
const shared = (elements = 1) => new Uint32Array(new SharedArrayBuffer(4 * elements))
/** Eight ports of which nothing is served alone, but for what is given. */
const route = (given: Partial<NativeRoute> = {}): NativeRoute => ({
  ...{ space: 'pio', base: 0, size: 8, posted: none, latched: none },
  ...given,
})

let channel: NativeExitChannel
beforeEach(() => {
  channel = new (binding().ExitChannel)()
})
afterEach(() => channel.close())

describe('a route', () => {
  it('has an id of its own, never used again', () => {
    const ids = [0, 1, 2].map((base) => channel.addRoute(route({ base, size: 1 })))
    channel.removeRoute(ids[1]!)
    ids.push(
      channel.addRoute(route({ base: 1, size: 1 })),
      channel.addRoute(route({ space: 'mmio' })),
    )
    expect(new Set(ids).size).toBe(5)
    expect(ids).not.toContain(0)
  })

  it('overlaps no other of its space', () => {
    channel.addRoute(route({ space: 'mmio', base: 0x1000, size: 0x1000 }))
    for (const [base, size] of [
      [0x1000, 1],
      [0xfff, 2],
      [0x1fff, 0x1000],
      [0, 2 ** 53 - 1],
    ] as const) {
      expect(() => channel.addRoute(route({ space: 'mmio', base, size }))).toThrow(
        expect.objectContaining({ code: 'ERR_BUS_CONFLICT' }),
      )
    }
    channel.addRoute(route({ space: 'mmio', base: 0xfff, size: 1 }))
    channel.addRoute(route({ space: 'mmio', base: 0x2000, size: 1 }))
    channel.addRoute(route({ base: 0x1000 }))
  })

  it.each([
    ['space', { space: 'dma' }],
    ['space', { space: 0 }],
    ['base', { base: 0x10000 }],
    ['base', { base: -1 }],
    ['base', { space: 'mmio', base: 2 ** 53 }],
    ['size', { size: 0 }],
    ['size', { base: 0xffff, size: 2 }],
    ['size', { space: 'mmio', base: 2 ** 53 - 1, size: 2 }],
    ['posted', { posted: words(8) }],
    ['posted', { posted: words(1, 2, 1) }],
    ['posted', { posted: [1] }],
    ['posted', { posted: undefined }],
    ['latched', { latched: words(1) }],
    ['latched', { latched: words(8, 1) }],
    ['latched', { latched: words(5, 4) }],
    ['latched', { size: 2, latched: words(0, 4) }],
    ['latched', { latched: words(0, 3) }],
    ['latched', { latched: words(0, 8) }],
    ['latched', { latched: words(0, 1, 0, 4) }],
    ['status', { space: 'mmio', status: 5 }],
    ['status', { status: { read: 0, clear: 4, bits: shared() } }],
    ['status.read', { space: 'mmio', status: { clear: 4, bits: shared() } }],
    ['status.read', { space: 'mmio', status: { read: 5, clear: 0, bits: shared() } }],
    ['status.read', { space: 'mmio', size: 3, status: { read: 0, clear: 0, bits: shared() } }],
    ['status.clear', { space: 'mmio', status: { read: 0, clear: 5, bits: shared() } }],
    ['status.bits', { space: 'mmio', status: { read: 0, clear: 4, bits: words(0) } }],
    ['status.bits', { space: 'mmio', status: { read: 0, clear: 4, bits: shared(2) } }],
    ['status.bits', { space: 'mmio', status: { read: 0, clear: 4 } }],
    ['selected.address', { posted: words(0), selected: { data: 4, memory: shared(2113) } }],
    ['selected.address', { selected: { address: 0, data: 4, memory: shared(2113) } }],
    [
      'selected.data',
      { posted: words(0), selected: { address: 0, data: 5, memory: shared(2113) } },
    ],
    ['selected.memory', { posted: words(0), selected: { address: 0, data: 4, memory: shared(1) } }],
    [
      'selected.memory',
      { posted: words(0), selected: { address: 0, data: 4, memory: words(2113) } },
    ],
    ['selected.memory', { posted: words(0), selected: { address: 0, data: 4 } }],
    ['cause.written', { posted: words(1), cause: { written: 2, told: 2, gsi: 4 } }],
    ['cause.told', { posted: words(1), cause: { written: 1, told: 8, gsi: 4 } }],
    [
      'cause.told',
      { posted: words(1), latched: words(2, 1), cause: { written: 1, told: 2, gsi: 4 } },
    ],
    ['cause.gsi', { posted: words(1), cause: { written: 1, told: 2 } }],
  ])('is refused for %s: %j', (option, given) => {
    expect(() => channel.addRoute({ ...route(), ...given } as NativeRoute)).toThrow(invalid(option))
    channel.addRoute(route())
  })

  it('is refused where it is no object', () => {
    for (const given of [undefined, null, 'pio', 5]) {
      expect(() => channel.addRoute(given as unknown as NativeRoute)).toThrow(invalid('route'))
    }
  })

  it('is refused a cause on the line of what is no VM', () => {
    for (const vm of [undefined, null, {}, channel]) {
      const cause = { written: 1, told: 2, gsi: 4, vm } as unknown as NativeRoute['cause'] & {}
      expect(() => channel.addRoute(route({ posted: words(1), cause }))).toThrow(TypeError)
    }
  })

  it('takes a status register and selected registers', () => {
    const status = { read: 0, clear: 4, bits: shared() }
    const selected = { address: 0, data: 4, memory: shared(2113) }
    channel.addRoute(route({ space: 'mmio', status }))
    channel.addRoute(route({ posted: words(0), selected }))
  })

  it('is read once, and not used where a getter has closed the channel or thrown', () => {
    const thrown = new Error('of the getter')
    const failing = Object.defineProperty(route(), 'latched', {
      get: () => {
        throw thrown
      },
    })
    expect(() => channel.addRoute(failing)).toThrow(thrown)
    let reads = 0
    const closing = Object.defineProperty(route(), 'selected', {
      get: () => {
        reads++
        channel.close()
      },
    })
    expect(() => channel.addRoute(closing)).toThrow(expect.objectContaining({ code: 'ERR_CLOSED' }))
    expect(reads).toBe(1)
  })

  it('settles what was posted, among what it posts', () => {
    const id = channel.addRoute(route({ posted: words(1, 2), settling: words(2) }))
    expect(() => channel.settle(id)).toThrow(invalid('id'))
    expect(() => channel.settle(id + 1)).toThrow(invalid('id'))
    for (const wrong of [words(3), words(2, 2), words(8)]) {
      const given = route({ base: 8, posted: words(1, 2), settling: wrong })
      expect(() => channel.addRoute(given)).toThrow(invalid('settling'))
    }
  })

  it('has no cause unless it was given one', () => {
    const id = channel.addRoute(route())
    expect(() => channel.setCause(id, 0, 0, 0)).toThrow(invalid('id'))
    expect(() => channel.causePending(id + 1)).toThrow(invalid('id'))
    expect(() => channel.readCause(id)).toThrow(invalid('id'))
  })

  it('is removed once', () => {
    const id = channel.addRoute(route())
    channel.removeRoute(id)
    expect(() => channel.removeRoute(id)).toThrow(invalid('id'))
  })

  it('latches only what it was told, and only what fits', () => {
    const id = channel.addRoute(route({ latched: words(0, 1, 2, 2, 4, 4) }))
    for (const [offset, value] of [
      [0, 255],
      [2, 65535],
      [4, 2 ** 32 - 1],
      [4, -1],
    ] as const) {
      channel.setLatch(id, offset, value)
    }
    for (const [offset, value] of [
      [0, 256],
      [2, 65536],
      [4, 2 ** 32],
      [0, -2],
      [0, 1.5],
      [0, Number.NaN],
    ] as const) {
      expect(() => channel.setLatch(id, offset, value)).toThrow(invalid('value'))
    }
    expect(() => channel.setLatch(id, 1, 0)).toThrow(invalid('offset'))
    expect(() => channel.setLatch(id + 1, 0, 0)).toThrow(invalid('offset'))
  })
})

describe('without vCPUs', () => {
  it('runs, pauses, and has nothing to do', () => {
    expect(channel.parked).toBe(true)
    channel.run(() => {})
    expect(channel.parked).toBe(false)
    expect(channel.next(-1)).toBe(-1)
    channel.pause()
    expect(channel.parked).toBe(true)
    channel.stop()
    expect(channel.next(-1)).toBe(-1)
    expect(channel.takePosted()).toBe(0)
  })

  it('has none to answer, hold, count or pin', () => {
    const state = expect.objectContaining({ code: 'ERR_STATE' })
    expect(() => channel.next(0)).toThrow(state)
    expect(() => channel.hold(0)).toThrow(state)
    expect(() => channel.counters(0)).toThrow(state)
    expect(() => channel.setAffinity(0, words(0))).toThrow(state)
  })

  it('refuses what is no function, no index, no vCPU and no spin', () => {
    const any = channel as unknown as Record<string, (...args: unknown[]) => unknown>
    expect(() => any.run!({})).toThrow(invalid('onWork'))
    expect(() => any.next!('0')).toThrow(invalid('answered'))
    expect(() => any.next!()).toThrow(invalid('answered'))
    expect(() => any.addVcpu!({})).toThrow(TypeError)
    expect(() => any.addVcpu!({}, 5)).toThrow(TypeError)
    for (const spin of [-1, 1001, 0.5, Number.NaN, '50']) {
      expect(() => any.setSpin!(spin)).toThrow(invalid('spinMicroseconds'))
    }
  })
})

it('raises ERR_CLOSED in every method once closed, and close() may come again', () => {
  const { next, mailbox } = channel
  channel.close()
  channel.close()
  const closed = expect.objectContaining({ code: 'ERR_CLOSED' })
  for (const call of [
    () => channel.addRoute(route()),
    () => channel.removeRoute(1),
    () => channel.setLatch(1, 0, 0),
    () => channel.setCause(1, 0, 0, 0),
    () => channel.causePending(1),
    () => channel.readCause(1),
    () => channel.run(() => {}),
    () => channel.pause(),
    () => channel.stop(),
    () => channel.hold(0),
    () => channel.takePosted(),
    () => channel.counters(0),
    () => channel.setSpin(0),
    () => channel.setAffinity(0, none),
    () => channel.ref(),
    () => channel.unref(),
    () => channel.mailbox,
    () => next(-1),
  ]) {
    expect(call).toThrow(closed)
  }
  expect(channel.parked).toBe(true)
  expect(mailbox.byteLength).toBe(0)
})
