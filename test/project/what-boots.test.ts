import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { root } from '../helpers/imports.js'

it('every test that starts a guest from a package is a line of docs/what-boots.md, and no other is', () => {
  const page = readFileSync(join(root, 'docs/what-boots.md'), 'utf8')
  const linked = [...page.matchAll(/\(\.\.\/test\/guest\/([\w.-]+\.test\.ts)\)/g)].map(
    ([, name]) => name!,
  )
  const packages = /^(debian-|firmware|ovmf|bootables|boot\.|pci\.)/
  const tests = readdirSync(join(root, 'test/guest')).filter((name) => name.endsWith('.test.ts'))
  expect([...new Set(linked)].sort()).toEqual(tests.filter((name) => packages.test(name)).sort())
})
