import { execFileSync } from 'node:child_process'
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const PACKAGE = fileURLToPath(new URL('../..', import.meta.url))
const CLI = 'dist/bundle/cli'

const cacheOf = (folder: string): Buffer => {
  const name = readdirSync(join(folder, CLI)).find((file) => file.endsWith('.cache'))
  return readFileSync(join(folder, CLI, name!))
}

describe('compiling the CLI where there is KVM', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'node-kvm-compile-test-'))
    mkdirSync(join(folder, CLI), { recursive: true })
    mkdirSync(join(folder, 'tmp'))
    for (const name of readdirSync(join(PACKAGE, CLI)).filter((file) => file.endsWith('.cjs'))) {
      cpSync(join(PACKAGE, CLI, name), join(folder, CLI, name))
    }
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  const compile = () =>
    execFileSync(process.execPath, [join(folder, CLI, 'compile.cjs')], {
      encoding: 'utf8',
      stdio: 'pipe',
      env: { ...process.env, HOME: join(folder, 'tmp'), TMPDIR: join(folder, 'tmp') },
    })

  it('keeps a whole run, and leaves nothing else behind', () => {
    expect(compile).toThrow(/addon/)
    const withoutMachine = cacheOf(folder).length
    for (const name of ['package.json', 'build', 'prebuilds', 'node_modules']) {
      symlinkSync(join(PACKAGE, name), join(folder, name))
    }
    // What the guest writes to its port.
    expect(compile()).toBe('\n')
    expect(cacheOf(folder).length).toBeGreaterThan(withoutMachine)
    expect(readdirSync(join(folder, 'tmp'))).toEqual([])
  })
})
