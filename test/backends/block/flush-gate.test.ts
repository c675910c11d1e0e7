import { describe, expect, it } from 'vitest'
import { FlushGate } from '../../../lib/backends/block/flush-gate.js'

const EIO = 5

class Answers {
  readonly all: [tag: number, error: number][] = []
  complete(tag: number, error: number): void {
    this.all.push([tag, error])
  }
}

describe('FlushGate', () => {
  it('makes one call for all that were asked for before it began, and one for all that came after', () => {
    const gate = new FlushGate({ error: 0 })
    const answers = new Answers()
    expect(gate.ask(1)).toBe(true)
    expect(gate.ask(2)).toBe(false)
    expect(gate.ask(3)).toBe(false)
    expect(gate.settle(0, answers)).toBe(true)
    expect(answers.all).toEqual([[1, 0]])
    expect(gate.ask(4)).toBe(false)
    expect(gate.settle(0, answers)).toBe(true)
    expect(answers.all).toEqual([
      [1, 0],
      [2, 0],
      [3, 0],
    ])
    expect(gate.settle(0, answers)).toBe(false)
    expect(answers.all.at(-1)).toEqual([4, 0])
    expect(gate.waiting).toBe(0)
  })

  it('fails all that waited, and every later one, once a call has failed', () => {
    const state = { error: 0 }
    const gate = new FlushGate(state)
    const answers = new Answers()
    gate.ask(1)
    gate.ask(2)
    expect(gate.settle(EIO, answers)).toBe(false)
    gate.refuse(answers)
    expect(gate.ask(3)).toBe(false)
    expect(gate.refused).toBe(1)
    gate.refuse(answers)
    expect(answers.all).toEqual([
      [1, EIO],
      [2, EIO],
      [3, EIO],
    ])
    const other = new FlushGate(state)
    expect(other.ask(4)).toBe(false)
    expect(other.waiting).toBe(1)
    other.refuse(answers)
    expect(answers.all.at(-1)).toEqual([4, EIO])
  })
})
