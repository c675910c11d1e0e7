import { expect, test } from 'vitest'
import { Cleanup } from '../../lib/util/cleanup.js'

test('runs the steps in reverse, once', async () => {
  const ran: string[] = []
  const cleanup = new Cleanup()
  cleanup.defer(() => void ran.push('first'))
  const owned = cleanup.own({ close: async () => void ran.push('second') })
  expect(owned).toHaveProperty('close')
  await cleanup.run()
  await cleanup.run()
  expect(ran).toEqual(['second', 'first'])
})

test('runs every step when some fail, and reports them all', async () => {
  const ran: number[] = []
  const cleanup = new Cleanup()
  cleanup.defer(() => void ran.push(1))
  cleanup.defer(() => {
    throw new Error('a')
  })
  await expect(cleanup.run()).rejects.toThrow('a')
  expect(ran).toEqual([1])

  cleanup.defer(() => Promise.reject(new Error('b')))
  cleanup.defer(() => {
    throw new Error('c')
  })
  await expect(cleanup.run()).rejects.toMatchObject({
    errors: [{ message: 'c' }, { message: 'b' }],
  })
})

test('runs what is part of it in its place, unless that has been run before', async () => {
  const ran: string[] = []
  const cleanup = new Cleanup()
  cleanup.defer(() => void ran.push('first'))
  const [early, late] = [cleanup.child(), cleanup.child()]
  early.defer(() => void ran.push('early'))
  late.defer(() => void ran.push('late'))
  cleanup.defer(() => void ran.push('last'))
  await early.run()
  expect(ran).toEqual(['early'])
  await cleanup.run()
  expect(ran).toEqual(['early', 'last', 'late', 'first'])
})
