import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { binding, type NativeExitChannel } from '../../lib/binding.js'

const invalid = (option: string) => expect.objectContaining({ code: 'ERR_INVALID_OPTION', option })
const words = (...values: number[]) => Uint32Array.from(values)
const none = words()
const shared = (elements = 1) => new Uint32Array(new SharedArrayBuffer(4 * elements))

let channel: NativeExitChannel
beforeEach(() => {
  channel = new (binding().ExitChannel)()
})
afterEach(() => channel.close())

describe('a route', () => {
  it('has an id of its own, never used again', () => {
    const ids = [0, 1, 2].map((base) => channel.addRoute('pio', base, 1, none, none))
    channel.removeRoute(ids[1]!)
    ids.push(channel.addRoute('pio', 1, 1, none, none), channel.addRoute('mmio', 1, 1, none, none))
    expect(new Set(ids).size).toBe(5)
    expect(ids).not.toContain(0)
  })

  it('overlaps no other of its space', () => {
    channel.addRoute('mmio', 0x1000, 0x1000, none, none)
    for (const [base, size] of [
      [0x1000, 1],
      [0xfff, 2],
      [0x1fff, 0x1000],
      [0, 2 ** 53 - 1],
    ] as const) {
      expect(() => channel.addRoute('mmio', base, size, none, none)).toThrow(
        expect.objectContaining({ code: 'ERR_BUS_CONFLICT' }),
      )
    }
    channel.addRoute('mmio', 0xfff, 1, none, none)
    channel.addRoute('mmio', 0x2000, 1, none, none)
    channel.addRoute('pio', 0x1000, 1, none, none)
  })

  it.each([
    ['space', ['dma', 0, 1, none, none]],
    ['space', [0, 0, 1, none, none]],
    ['base', ['pio', 0x10000, 1, none, none]],
    ['base', ['pio', -1, 1, none, none]],
    ['base', ['mmio', 2 ** 53, 1, none, none]],
    ['size', ['pio', 0, 0, none, none]],
    ['size', ['pio', 0xffff, 2, none, none]],
    ['size', ['mmio', 2 ** 53 - 1, 2, none, none]],
    ['posted', ['pio', 0, 8, words(8), none]],
    ['posted', ['pio', 0, 8, words(1, 2, 1), none]],
    ['posted', ['pio', 0, 8, [1], none]],
    ['latched', ['pio', 0, 8, none, words(1)]],
    ['latched', ['pio', 0, 8, none, words(8, 1)]],
    ['latched', ['pio', 0, 8, none, words(5, 4)]],
    ['latched', ['pio', 0, 2, none, words(0, 4)]],
    ['latched', ['pio', 0, 8, none, words(0, 3)]],
    ['latched', ['pio', 0, 8, none, words(0, 8)]],
    ['latched', ['pio', 0, 8, none, words(0, 1, 0, 4)]],
  ])('is refused for %s: %j', (option, args) => {
    const add = channel.addRoute as (...args: unknown[]) => number
    expect(() => add.apply(channel, args)).toThrow(invalid(option))
    channel.addRoute('pio', 0, 8, none, none)
  })

  it('settles what was posted, among what it posts', () => {
    const id = channel.addRoute('pio', 0, 8, words(1, 2), none, words(2))
    expect(() => channel.settle(id)).toThrow(invalid('id'))
    expect(() => channel.settle(id + 1)).toThrow(invalid('id'))
    for (const wrong of [words(3), words(2, 2), words(8)]) {
      expect(() => channel.addRoute('pio', 8, 8, words(1, 2), none, wrong)).toThrow(
        invalid('settling'),
      )
    }
  })

  it.each([
    ['status', ['mmio', 0, 8, none, none, none, words(0), shared()]],
    ['status', ['mmio', 0, 8, none, none, none, words(0, 5), shared()]],
    ['status', ['mmio', 0, 8, none, none, none, words(5, 0), shared()]],
    ['status', ['mmio', 0, 3, none, none, none, words(0, 0), shared()]],
    ['status', ['pio', 0, 8, none, none, none, words(0, 4), shared()]],
    ['bits', ['mmio', 0, 8, none, none, none, words(0, 4), words(0)]],
    ['bits', ['mmio', 0, 8, none, none, none, words(0, 4), shared(2)]],
    ['bits', ['mmio', 0, 8, none, none, none, words(0, 4)]],
  ])('is refused a status register for %s: %j', (option, args) => {
    const add = channel.addRoute as (...args: unknown[]) => number
    expect(() => add.apply(channel, args)).toThrow(invalid(option))
    channel.addRoute('mmio', 0, 8, none, none, none, words(0, 4), shared())
  })

  it.each([
    ['selected', [words(0), words(0), shared(2113)]],
    ['selected', [words(0), words(0, 5), shared(2113)]],
    ['selected', [words(1), words(0, 4), shared(2113)]],
    ['memory', [words(0), words(0, 4), shared(2112)]],
    ['memory', [words(0), words(0, 4), new Uint32Array(2113)]],
    ['memory', [words(0), words(0, 4)]],
  ])('is refused selected registers for %s', (option, [posted, selected, memory]) => {
    const add = channel.addRoute as (...args: unknown[]) => number
    const rest = [none, undefined, undefined, undefined, undefined, undefined]
    const given = ['pio', 0, 8, posted, ...rest, selected, memory]
    expect(() => add.apply(channel, given)).toThrow(invalid(option))
    add.apply(channel, ['pio', 0, 8, words(0), ...rest, words(0, 4), shared(2113)])
  })

  it.each([
    ['cause', [words(1), none, words(1, 2)]],
    ['cause', [words(1), none, words(1, 2, 4, 0)]],
    ['cause', [words(1), none, words(2, 2, 4)]],
    ['cause', [words(1), none, words(1, 8, 4)]],
    ['cause', [words(1), words(2, 1), words(1, 2, 4)]],
  ])('is refused a cause for %s: %j', (option, [posted, latched, cause]) => {
    const add = channel.addRoute as (...args: unknown[]) => number
    const rest = [posted, latched, none, undefined, undefined, cause]
    expect(() => add.apply(channel, ['pio', 0, 8, ...rest])).toThrow(invalid(option))
    for (const vm of [undefined, null, {}, channel]) {
      const whole = [words(1), none, none, undefined, undefined, words(1, 2, 4), vm]
      expect(() => add.apply(channel, ['pio', 0, 8, ...whole])).toThrow(TypeError)
    }
    const id = channel.addRoute('pio', 0, 8, none, none)
    expect(() => channel.setCause(id, 0, 0, 0)).toThrow(invalid('id'))
    expect(() => channel.causePending(id + 1)).toThrow(invalid('id'))
    expect(() => channel.readCause(id)).toThrow(invalid('id'))
  })

  it('is removed once', () => {
    const id = channel.addRoute('pio', 0, 8, none, none)
    channel.removeRoute(id)
    expect(() => channel.removeRoute(id)).toThrow(invalid('id'))
  })

  it('latches only what it was told, and only what fits', () => {
    const id = channel.addRoute('pio', 0, 8, none, words(0, 1, 2, 2, 4, 4))
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
    () => channel.addRoute('pio', 0, 1, none, none),
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
