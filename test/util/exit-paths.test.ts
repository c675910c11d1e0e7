import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { removeAtExit } from '../../lib/util/exit-paths.js'

const folder = mkdtempSync(join(tmpdir(), 'node-kvm-exit-'))
afterAll(() => rmSync(folder, { recursive: true }))

it('removes a file at the end unless it was given back, with one listener for all', () => {
  const before = process.listeners('exit')
  const [kept, gone, missing] = ['kept', 'gone', 'missing'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ]
  for (const path of [kept, gone]) writeFileSync(path, '')
  const giveBack = [kept, gone, missing].map(removeAtExit)
  giveBack[0]!()
  const added = process.listeners('exit').filter((listener) => !before.includes(listener))
  expect(added).toHaveLength(1)
  added[0]!(0)
  expect([kept, gone].map((path) => existsSync(path))).toEqual([true, false])
  for (const end of giveBack) end()
  expect(process.listeners('exit')).toEqual(before)
})
