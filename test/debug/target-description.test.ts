import { expect, it } from 'vitest'
import { REGISTERS } from '../../lib/debug/registers.js'
import { TARGET_XML } from '../../lib/debug/target-description.js'

it('names every register once, in the order of their numbers', () => {
  const names = [...TARGET_XML.matchAll(/<reg name="(\w+)" bitsize="(\d+)"/g)]
  expect(names.map(([, name]) => name)).toEqual(REGISTERS.map(({ name }) => name))
  expect(names.map(([, , bits]) => Number(bits))).toEqual(REGISTERS.map(({ bits }) => bits))
  expect(new Set(REGISTERS.map(({ name }) => name)).size).toBe(REGISTERS.length)
})

it('is ASCII without what a packet escapes', () => {
  expect(TARGET_XML).toMatch(/^[\x20-\x22\x26-\x29\x2b-\x7c\x7e\n]*$/)
})
