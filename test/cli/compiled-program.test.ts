import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { codeCache } from '../../lib/cli/compiled-program.js'

const BUILT = fileURLToPath(new URL('../../dist/bundle/cli', import.meta.url))
const SCRIPTS = readdirSync(BUILT).filter((name) => name.endsWith('.cjs'))
const PROGRAM = SCRIPTS.find((name) => name.startsWith('program-'))!

/** Whether V8 takes the code cache of a program, as a process says that has the flags that users have. */
function taken(file: string): boolean {
  const code = `
    const { readFileSync } = require('node:fs')
    const [file, cache] = process.argv.slice(1)
    const options = { cachedData: readFileSync(cache) }
    const script = new (require('node:vm').Script)(readFileSync(file, 'latin1'), options)
    console.log(!script.cachedDataRejected)`
  return run('-e', code, file, codeCache(file)) === 'true'
}

const run = (...args: readonly string[]): string =>
  execFileSync(process.execPath, args, { encoding: 'utf8', stdio: 'pipe' }).trim()

describe('the compiled program of the CLI', () => {
  let folder: string
  let file: string
  beforeEach(() => {
    // As deep as in the package, whose version is looked for.
    folder = mkdtempSync(join(tmpdir(), 'node-kvm-compiled-'))
    for (const name of SCRIPTS) cpSync(join(BUILT, name), join(folder, name))
    file = join(folder, PROGRAM)
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  const start = () => run(join(folder, 'main.cjs'), '--version')
  // There is no addon beside it here, so that it ends where a run opens /dev/kvm, as where there is none.
  const compile = () => expect(() => run(join(folder, 'compile.cjs'))).toThrow(/addon/)

  it('runs without a code cache', () => {
    expect(start()).toBe('unknown')
  })

  it('is compiled anew, with nothing left beside', () => {
    writeFileSync(codeCache(file), 'what was there before')
    compile()
    expect(taken(file)).toBe(true)
    expect(start()).toBe('unknown')
    expect(readdirSync(folder)).toHaveLength(SCRIPTS.length + 1)
  })

  it.each([
    ['empty', () => Buffer.alloc(0)],
    ['cut off', (whole: Buffer) => whole.subarray(0, whole.length >> 1)],
    ['of another version of V8', (whole: Buffer) => whole.fill(0x5a, 4, 8)],
    ['of another program', (whole: Buffer) => whole.fill(0x5a, 8, 12)],
  ])('runs with a code cache that is %s', (_, change) => {
    compile()
    writeFileSync(codeCache(file), change(readFileSync(codeCache(file))))
    expect(taken(file)).toBe(false)
    expect(start()).toBe('unknown')
  })
})
