import { once } from 'node:events'
import { PassThrough, type Writable } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
// @ts-expect-error: plain JavaScript, as the scripts are
import { beside, HeldOutput } from '../../scripts/lib/held-output.mjs'

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

describe('of two jobs, the output of the second', () => {
  it('comes after that of the first, whichever is done before', async () => {
    const target = new PassThrough().setEncoding('utf8')
    const first = async (output: Writable) => {
      await setImmediate()
      output.write('first, ')
      return 1
    }
    const second = async (output: Writable) => {
      output.write('second')
      return 2
    }
    expect(await beside(first, second, target)).toEqual([1, 2])
    expect(target.read()).toBe('first, second')
  })

  it('is let go though the first fails', async () => {
    const target = new PassThrough().setEncoding('utf8')
    const first = () => Promise.reject(new Error('first'))
    const second = async (output: Writable) => void output.write('second')
    await expect(beside(first, second, target)).rejects.toThrow('first')
    expect(target.read()).toBe('second')
  })
})
