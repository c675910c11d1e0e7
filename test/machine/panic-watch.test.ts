import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PanicWatch } from '../../lib/machine/panic-watch.js'
import { afterPanic } from '../../lib/machine/stop-reason.js'

function watch(text: string) {
  const passed: number[] = []
  const panic = new PanicWatch({ put: (byte) => void passed.push(byte) })
  for (const byte of Buffer.from(text, 'latin1')) panic.put(byte)
  expect(Buffer.from(passed).toString('latin1')).toBe(text)
  return panic
}

const PANIC = 'Kernel panic - not syncing: '

describe('PanicWatch', () => {
  it.each([
    ['nothing', undefined],
    [`[    1.000000] ${PANIC}VFS: no root\r\n[    1.1] more`, 'VFS: no root'],
    [`${PANIC}unfinished`, 'unfinished'],
    [`${PANIC}\n`, ''],
    [`KKernel${PANIC}a\n`, 'a'],
    [`${PANIC}${PANIC}a\n`, `${PANIC}a`],
    [`${PANIC}first\n${PANIC}second\n`, 'first'],
    [`${PANIC}${'x'.repeat(300)}\n`, 'x'.repeat(256)],
    ['Kernel panic - not Syncing: a\n', undefined],
  ])('%j', (text, message) => expect(watch(text).message).toBe(message))

  it('forgets with a reset', () => {
    const panic = watch(`${PANIC}first\n`)
    panic.reset()
    expect(panic.message).toBeUndefined()
    for (const byte of Buffer.from(`${PANIC}second\n`)) panic.put(byte)
    expect(panic.message).toBe('second')
  })

  it('finds what a search finds', () => {
    const part = fc.constantFrom(PANIC, 'Kernel panic - ', 'K', 'a\n', 'ernel', ' ')
    fc.assert(
      fc.property(fc.array(part), (parts) => {
        const text = parts.join('')
        const at = text.indexOf(PANIC)
        const expected =
          at < 0
            ? undefined
            : text
                .slice(at + PANIC.length)
                .split('\n')[0]!
                .slice(0, 256)
                .trimEnd()
        expect(watch(text).message).toBe(expected)
      }),
    )
  })
})

it.each([
  ['reset', 'panicked'],
  ['crashed', 'panicked'],
  ['panicked', 'panicked'],
  ['killed', 'killed'],
  ['shutdown', 'shutdown'],
])('%s after a panic is %s', (kind, after) => {
  expect(afterPanic({ kind } as never, 'why').kind).toBe(after)
  expect(afterPanic({ kind } as never, undefined)).toEqual({ kind })
})
