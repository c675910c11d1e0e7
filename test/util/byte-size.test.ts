import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatByteSize, parseByteSize } from '../../lib/util/byte-size.js'

describe('parseByteSize', () => {
  test.each([
    ['0', 0],
    ['4096', 4096],
    ['256M', 256 * 2 ** 20],
    ['256m', 256 * 2 ** 20],
    ['1.5G', 1.5 * 2 ** 30],
    ['1GiB', 2 ** 30],
    ['2 KB', 2048],
    ['1T', 2 ** 40],
  ])('%s', (text, bytes) => expect(parseByteSize(text)).toBe(bytes))

  test.each([
    '',
    ' ',
    'M',
    '-1',
    '1e9',
    '0x10',
    '1..5G',
    '1.3',
    '1M2',
    'NaN',
    '9007199254740993',
    '99999999T',
    '1P',
  ])('refuses %j', (text) => expect(parseByteSize(text)).toBeUndefined())

  test('never gives anything but a whole number of bytes', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const bytes = parseByteSize(text)
        return bytes === undefined || (Number.isSafeInteger(bytes) && bytes >= 0)
      }),
    )
  })
})

test.each([
  [0, '0 bytes'],
  [512, '512 bytes'],
  [2 ** 20, '1 MiB'],
  [1.5 * 2 ** 30, '1.5 GiB'],
])('formatByteSize(%d)', (bytes, text) => expect(formatByteSize(bytes)).toBe(text))
