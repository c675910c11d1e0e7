import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { sparseFile } from '../helpers/sparse-file.js'
import { Child, compileProgram } from './child.js'

const folder = mkdtempSync(join(tmpdir(), 'node-kvm-load-'))
afterAll(() => rmSync(folder, { recursive: true }))

describe('a limit of file sizes', () => {
  it.each(['io_uring', 'threads', 'js'])(
    'LOAD-22 is an I/O error to the guest, by %s',
    async (engine) => {
      const path = sparseFile(join(folder, engine), 2 ** 20)
      const program = await compileProgram('full-file')
      const child = new Child(program, [path, engine], ['prlimit', '--fsize=65536'])
      const { status, signal, stdout, stderr } = await child.ended()
      expect({ status, signal, stderr }).toEqual({ status: 0, signal: null, stderr: '' })
      expect(JSON.parse(stdout)).toEqual([0, 1, 0])
    },
  )
})

describe('a small heap', () => {
  it('LOAD-22 is enough for a machine with all its devices', async () => {
    const path = sparseFile(join(folder, 'small'), 2 ** 20)
    const child = new Child(await compileProgram('limited'), [path], [])
    await child.says('ready')
    child.process.stdin!.end('\n\n\n')
    const { status, stdout } = await child.ended()
    expect(status).toBe(0)
    expect(stdout.match(/"created":true/g)).toHaveLength(3)
  })
})
