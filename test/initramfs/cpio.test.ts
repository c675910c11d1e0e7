import { execFileSync } from 'node:child_process'
import { lstatSync, mkdtempSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type CpioEntry, writeCpio } from '../../lib/initramfs/cpio.js'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'node-kvm-cpio-'))
})
afterEach(() => {
  rmSync(directory, { recursive: true, force: true })
})

function cpio(args: string[], archive: Uint8Array): string {
  return execFileSync('cpio', [...args, '--quiet'], {
    input: archive,
    cwd: directory,
    encoding: 'utf8',
    env: { ...process.env, TZ: 'UTC', LC_ALL: 'C' },
  })
}

const entries: CpioEntry[] = [
  { type: 'directory', path: 'dev' },
  { type: 'character', path: 'dev/console', major: 5, minor: 1 },
  { type: 'block', path: '/dev/vda', major: 254, minor: 300, mode: 0o660 },
  { type: 'directory', path: 'etc', mode: 0o700 },
  { type: 'file', path: 'etc/motd', data: 'hello\n' },
  { type: 'file', path: 'init', data: new Uint8Array([1, 2, 3]), mode: 0o4755 },
  { type: 'file', path: 'empty', data: '' },
  { type: 'symlink', path: 'link', target: '../etc/motd' },
]

describe('writeCpio', () => {
  it('is listed by cpio with types, modes, owners, sizes and device numbers', () => {
    const listing = cpio(['-itv', '--numeric-uid-gid'], writeCpio(entries, 86_400))
    const rows = listing
      .trimEnd()
      .split('\n')
      .map((line) => line.replace(/\s+/g, ' '))
    expect(rows).toEqual([
      'drwxr-xr-x 2 0 0 0 Jan 2 1970 dev',
      'crw------- 1 0 0 5, 1 Jan 2 1970 dev/console',
      'brw-rw---- 1 0 0 254, 300 Jan 2 1970 dev/vda',
      'drwx------ 2 0 0 0 Jan 2 1970 etc',
      '-rw-r--r-- 1 0 0 6 Jan 2 1970 etc/motd',
      '-rwsr-xr-x 1 0 0 3 Jan 2 1970 init',
      '-rw-r--r-- 1 0 0 0 Jan 2 1970 empty',
      'lrwxrwxrwx 1 0 0 11 Jan 2 1970 link -> ../etc/motd',
    ])
  })

  it('is unpacked by cpio with the same contents', () => {
    const plain = entries.filter(({ type }) => type !== 'block' && type !== 'character')
    cpio(['-id'], writeCpio(plain))
    expect(readFileSync(join(directory, 'etc/motd'), 'utf8')).toBe('hello\n')
    expect([...readFileSync(join(directory, 'init'))]).toEqual([1, 2, 3])
    expect(lstatSync(join(directory, 'empty')).size).toBe(0)
    expect(readlinkSync(join(directory, 'link'))).toBe('../etc/motd')
  })

  it('gives the same bytes for the same entries, in blocks of 512', () => {
    const archive = writeCpio(entries)
    expect(archive.length % 512).toBe(0)
    expect(Buffer.compare(archive, writeCpio(entries))).toBe(0)
    expect(Buffer.compare(archive, writeCpio(entries, 1))).not.toBe(0)
  })

  it('keeps any names and contents, whatever their lengths', () => {
    const name = fc.stringMatching(/^[a-z]{1,40}$/)
    const files = fc.uniqueArray(fc.record({ name, data: fc.uint8Array({ maxLength: 40 }) }), {
      selector: ({ name }) => name,
      minLength: 1,
      maxLength: 8,
    })
    fc.assert(
      fc.property(files, (files) => {
        const archive = writeCpio(
          files.map(({ name, data }) => ({ type: 'file', path: name, data })),
        )
        cpio(['-iu'], archive)
        for (const { name, data } of files) {
          expect([...readFileSync(join(directory, name))]).toEqual([...data])
        }
      }),
      { numRuns: 20 },
    )
  })

  it.each<[string, CpioEntry]>([
    ['an empty path', { type: 'directory', path: '' }],
    ['the root', { type: 'directory', path: '/' }],
    ['a path that climbs', { type: 'directory', path: 'a/../../b' }],
    ['a dot', { type: 'directory', path: './a' }],
    ['a doubled slash', { type: 'directory', path: 'a//b' }],
    ['a NUL', { type: 'directory', path: 'a\0b' }],
    ['the trailer', { type: 'file', path: 'TRAILER!!!', data: '' }],
    ['a name too long', { type: 'directory', path: 'ä'.repeat(2048) }],
    ['an empty target', { type: 'symlink', path: 'a', target: '' }],
    ['a mode with type bits', { type: 'file', path: 'a', data: '', mode: 0o100644 }],
    ['a negative mode', { type: 'file', path: 'a', data: '', mode: -1 }],
    ['a fractional minor', { type: 'block', path: 'a', major: 1, minor: 0.5 }],
    ['a huge major', { type: 'block', path: 'a', major: 2 ** 32, minor: 0 }],
  ])('refuses %s', (_what, entry) => {
    expect(() => writeCpio([entry])).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION' }),
    )
  })

  it('refuses a time that does not fit', () => {
    expect(() => writeCpio([], -1)).toThrow(/mtime/)
    expect(() => writeCpio([], 2 ** 32)).toThrow(/mtime/)
  })

  it('takes the longest name that the kernel takes', () => {
    const path = `${'a'.repeat(200)}/`.repeat(21).slice(0, 4095)
    expect(writeCpio([{ type: 'file', path, data: '' }]).length).toBeGreaterThan(4095)
  })
})
