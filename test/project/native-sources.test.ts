import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { root } from '../helpers/imports.js'

it('binding.gyp lists every C++ source file, as CMakeLists.txt takes them all', () => {
  const listed = [
    ...readFileSync(join(root, 'binding.gyp'), 'utf8').matchAll(/'(native\/[^']+\.cc)'/g),
  ].map((match) => match[1]!)
  const there = readdirSync(join(root, 'native'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.cc'))
    .map((name) => `native/${name}`)
  expect(listed.sort()).toEqual(there.sort())
})
