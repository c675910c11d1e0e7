import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import { expect, it } from 'vitest'
// @ts-expect-error: plain JavaScript, as the scripts are
import { HeldOutput } from '../../scripts/lib/held-output.mjs'

it('output is held until it is let go, and then passed on as it comes', async () => {
  const target = new PassThrough().setEncoding('utf8')
  const held = new HeldOutput(target)
  held.write('one, ')
  held.write('two, ')
  expect(target.read()).toBe(null)
  held.release()
  held.write('three')
  held.end()
  await once(held, 'finish')
  expect(target.read()).toBe('one, two, three')
})
