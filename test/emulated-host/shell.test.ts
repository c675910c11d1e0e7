import { execFileSync, spawnSync } from 'node:child_process'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { commandScript, shellQuote } from '../../lib/emulated-host/shell.js'

/** Any text that a command line can carry. */
const words = fc.array(
  fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll('\0', '')),
  { minLength: 1, maxLength: 5 },
)

describe('shellQuote', () => {
  it('makes a word that a shell reads as the same text', () => {
    fc.assert(
      fc.property(words, (texts) => {
        const script = `printf '%s\\0' ${texts.map(shellQuote).join(' ')}`
        expect(execFileSync('sh', ['-c', script], { encoding: 'utf8' })).toBe(
          texts.map((text) => `${text}\0`).join(''),
        )
      }),
      { numRuns: 40 },
    )
  })

  it('refuses what no command line can carry', () => {
    const refusal = expect.objectContaining({ code: 'ERR_INVALID_OPTION' })
    expect(() => shellQuote('a\0b')).toThrow(refusal)
  })
})

describe('commandScript', () => {
  const run = (script: string) => spawnSync('sh', { input: script, encoding: 'utf8' })

  it('runs the command in the folder with that environment and no other', () => {
    const environment = { PATH: process.env.PATH, QUOTES: `it's "$X"\n`, GONE: undefined }
    const script = commandScript(['sh', '-c', 'pwd; env; exit 7'], '/usr', environment)
    const { status, stdout } = run(script)
    expect(status).toBe(7)
    expect(stdout).toMatch(/^\/usr\n/)
    expect(stdout).toContain(`QUOTES=it's "$X"\n\n`)
    expect(stdout).not.toMatch(/^(GONE|HOME)=/m)
  })

  it('fails as a shell does without the command, or without the folder', () => {
    expect(run(commandScript(['no-such-program-here'], '/', process.env)).status).toBe(127)
    expect(run(commandScript(['true'], '/no/such/folder', process.env)).status).toBe(126)
  })
})
