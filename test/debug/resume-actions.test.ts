import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseActions, parseThreadId } from '../../lib/debug/resume-actions.js'

const threads = { count: 3, chosen: 1 }
const actions = (text: string) => {
  const parsed = parseActions(text, threads)
  return parsed && Object.fromEntries(parsed)
}

describe('vCont', () => {
  it.each([
    [';c', { 0: 'continue', 1: 'continue', 2: 'continue' }],
    [';s:2;c', { 0: 'continue', 1: 'step', 2: 'continue' }],
    [';s:3', { 2: 'step' }],
    [';S05:1;C0b:2', { 0: 'step', 1: 'continue' }],
    [';c:-1', { 0: 'continue', 1: 'continue', 2: 'continue' }],
    [';s:0', { 1: 'step' }],
    [';s:1;c:1', { 0: 'step' }],
  ])('%s', (text, expected) => {
    expect(actions(text)).toEqual(expected)
  })

  it.each(['', ';', ';x', ';c:4', ';c:', ';S:1', ';s:p1.1', ';cc', ';c:1x'])(
    'is refused: %j',
    (text) => expect(actions(text)).toBeUndefined(),
  )

  it('never names a thread that is none', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 40 }), (text) => {
        for (const vcpu of parseActions(`;${text}`, threads)?.keys() ?? []) {
          expect(vcpu).toBeGreaterThanOrEqual(0)
          expect(vcpu).toBeLessThan(3)
        }
      }),
    )
  })
})

it.each([
  ['1', 0],
  ['3', 2],
  ['0', 1],
  ['-1', 'all'],
  ['4', undefined],
  ['', undefined],
  ['fffffffff', undefined],
])('thread id %j', (text, expected) => {
  expect(parseThreadId(text, threads)).toBe(expected)
})
