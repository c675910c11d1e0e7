import { beforeEach, expect, it } from 'vitest'
import { NO_CAUSE, OwnCause } from '../../lib/bus/interrupt-cause.js'
import { FakeIrqLine } from '../helpers/fake-irq-line.js'

const VIEW = {
  idle: 0x01,
  pending: 0x02,
  idleLevel: false,
  pendingLevel: true,
  acknowledges: true,
  shared: true,
  raises: true,
}

let irq: FakeIrqLine
let latched: number | undefined
let cause: OwnCause
beforeEach(() => {
  irq = new FakeIrqLine()
  latched = undefined
  cause = new OwnCause(irq, (value) => {
    latched = value
  })
  cause.set(VIEW)
})

it('lasts from a write to a read, and the line with it', () => {
  expect(cause.read()).toBe(0x01)
  for (let i = 1; i < 3; i++) {
    cause.written()
    cause.written()
    expect(irq).toMatchObject({ level: true, edges: i })
    expect(cause.pending).toBe(true)
    expect(cause.read()).toBe(0x02)
    expect(irq.level).toBe(false)
    expect(cause.read()).toBe(0x01)
  }
})

it('is not pending by a write that does not raise it, and not ended by a read that does not acknowledge it', () => {
  cause.set({ ...VIEW, raises: false })
  cause.written()
  expect(cause.pending).toBe(false)
  cause.set({ ...VIEW, acknowledges: false })
  cause.written()
  cause.read()
  expect(cause.read()).toBe(0x02)
  expect(irq).toMatchObject({ level: true, edges: 1 })
})

it('is latched where reads do nothing and the cause makes no difference', () => {
  expect(latched).toBeUndefined()
  cause.set({ ...VIEW, idle: 4, pending: 4, idleLevel: true })
  expect(latched).toBe(4)
  expect(irq.level).toBe(true)
  cause.set({ ...VIEW, idle: 4, pending: 4, shared: false })
  expect(latched).toBeUndefined()
  cause.set(NO_CAUSE)
  expect(irq.level).toBe(false)
})

it('has its latch up to date when the line rises', () => {
  let seen: number | undefined
  irq.onRise = () => {
    seen = latched
  }
  cause.set({ ...VIEW, idle: 4, pending: 4, idleLevel: true })
  expect(seen).toBe(4)
})
