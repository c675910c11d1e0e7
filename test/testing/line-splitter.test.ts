import fc from 'fast-check'
import { expect, it } from 'vitest'
import { LINE_MAX, LineSplitter, splitLines } from '../../lib/testing/line-splitter.js'

it.each([
  ['', []],
  ['a', ['a']],
  ['a\n', ['a']],
  ['a\r\nb\r\r\n\nc', ['a', 'b', '', 'c']],
])('%j', (text, lines) => expect(splitLines(text)).toEqual(lines))

it('gives the same lines whatever the pieces', () => {
  const text = fc
    .array(fc.constantFrom('a', 'bc', '\n', '\r\n', '\r'))
    .map((parts) => parts.join(''))
  fc.assert(
    fc.property(text, fc.array(fc.nat({ max: 20 })), (all, cuts) => {
      const splitter = new LineSplitter()
      const lines: string[] = []
      let at = 0
      for (const length of cuts) {
        lines.push(...splitter.push(all.slice(at, at + length)))
        at += length
      }
      lines.push(...splitter.push(all.slice(at)), ...splitter.end())
      expect(lines).toEqual(splitLines(all))
    }),
  )
})

it('keeps the start of a line without an end', () => {
  const splitter = new LineSplitter()
  for (let i = 0; i < 100; i++) expect(splitter.push('x'.repeat(1000))).toEqual([])
  expect(splitter.end()).toEqual(['x'.repeat(LINE_MAX)])
})
