import { PassThrough } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { BootConsole } from '../../lib/testing/boot-console.js'

function rig(limit = 2 ** 16) {
  const output = new PassThrough()
  let seen = ''
  const console = new BootConsole(output, limit, (text) => {
    seen += text
  })
  return { output, console, seen: () => seen }
}
const turn = () => new Promise((resolve) => setImmediate(resolve))

describe('waitFor', () => {
  it('finds what was printed, and what will be', async () => {
    const { output, console } = rig()
    output.write('a login: ')
    await turn()
    expect((await console.waitFor(/(\w) login: $/))[1]).toBe('a')
    const waiting = console.waitFor('# ')
    output.write('pass')
    output.write('word\r\n# ')
    expect((await waiting).index).toBe('a login: password\n'.length)
    expect(console.text).toBe('a login: password\n# ')
  })

  it('finds a prompt once for each time it is printed', async () => {
    const { output, console } = rig()
    output.write('$ ls\n$ ')
    await console.waitFor('$ ')
    await console.waitFor('$ ')
    await expect(console.waitFor('$ ', { timeout: 1 })).rejects.toMatchObject({
      code: 'ERR_TIMEOUT',
    })
  })

  it('serves several at once, each by itself', async () => {
    const { output, console } = rig()
    const first = console.waitFor(/x/, { timeout: 20 })
    const second = console.waitFor(/y/)
    output.write('y')
    expect((await second)[0]).toBe('y')
    await expect(first).rejects.toThrow('printed /x/ within 20 ms. The log ends:\ny')
  })

  it('treats a text as it is, and leaves a pattern of the caller alone', async () => {
    const { output, console } = rig()
    output.write('a+b (c)')
    await console.waitFor('a+b (c)')
    const pattern = /z/gy
    const waiting = console.waitFor(pattern)
    output.write(' z')
    await waiting
    expect(pattern.lastIndex).toBe(0)
  })

  it('takes a carriage return that comes apart from its line feed', async () => {
    const { output, console } = rig()
    output.write('a\r')
    output.write('\nb\rc')
    await console.waitFor(/c/)
    expect(console.text).toBe('a\nb\rc')
  })

  it('gives up with a signal', async () => {
    const { console } = rig()
    const waiting = console.waitFor(/never/, { signal: AbortSignal.timeout(1) })
    await expect(waiting).rejects.toMatchObject({ name: 'TimeoutError' })
    await expect(console.waitFor(/x/, { signal: AbortSignal.abort('why') })).rejects.toBe('why')
  })

  it('fails with the end of the log when there is nothing to wait for any more', async () => {
    const { output, console } = rig()
    const waiting = console.waitFor(/never/)
    output.write('last words')
    await console.waitFor('last')
    console.fail('the guest ended')
    await expect(waiting).rejects.toMatchObject({
      code: 'ERR_BOOT_TEST',
      message: 'the guest ended before it printed /never/. The log ends:\nlast words',
    })
    await expect(console.waitFor(/x/)).rejects.toThrow('the guest ended')
    expect((await console.waitFor(/words/))[0]).toBe('words')
  })

  it.each([0, -1, 1.5, Number.NaN, 2 ** 31, '5' as never])(
    'refuses a timeout of %s',
    async (timeout) => {
      const { console } = rig()
      await expect(console.waitFor(/x/, { timeout })).rejects.toMatchObject({ option: 'timeout' })
    },
  )

  it.each(['', undefined, 5, {}])('refuses the pattern %j', async (pattern) => {
    const { console } = rig()
    await expect(console.waitFor(pattern as never)).rejects.toMatchObject({ option: 'pattern' })
  })
})

it('a flood is bounded, and its end is kept', async () => {
  const { output, console, seen } = rig(4096)
  for (let i = 0; i < 1000; i++) {
    output.write(`line ${i} ${'x'.repeat(100)}\n`)
    if (i % 10 === 0) await turn()
  }
  await console.waitFor('line 999 ')
  expect(console.text.length).toBeLessThanOrEqual(4096 * 1.125)
  expect(console.text.length + console.dropped).toBe(seen().length)
  expect(console.tail(2)).toMatch(/^line 998 x+\nline 999 x+$/)
})
