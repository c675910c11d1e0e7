import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FileDisk } from '../../lib/index.js'
import { sparseFile } from '../helpers/sparse-file.js'
import { LENGTH, pattern } from '../hostile/witness.js'
import { Child, compileProgram } from './child.js'
import { times } from './size.js'

const folder = mkdtempSync(join(tmpdir(), 'node-kvm-load-'))
afterAll(() => rmSync(folder, { recursive: true }))
let program: string
beforeAll(async () => {
  program = await compileProgram('writer')
})

const newDisk = () => sparseFile(join(folder, 'disk'), 2 ** 20)

/** The disk is whole: what was written at once, no older than what the machine said was flushed, and free to be used. */
async function expectWhole(path: string, stdout: string): Promise<void> {
  const lines = stdout.split('\n').slice(0, -1)
  const flushed = Number(lines.findLast((line) => /^\d+$/.test(line)) ?? 0)
  const bytes = readFileSync(path).subarray(0, LENGTH)
  const [first, last] = [bytes.readUInt16LE(0), bytes.readUInt16LE(LENGTH - 2)]
  expect(last).toBe(first)
  expect(first).toBeGreaterThanOrEqual(flushed)
  if (first > 0) {
    const expected = Buffer.from(pattern())
    expect(bytes.subarray(2, -2).equals(expected.subarray(2, -2))).toBe(true)
  }
  const disk = new FileDisk(path)
  await disk.open()
  await disk.close()
}

const moment = (i: number) => new Promise((resolve) => setTimeout(resolve, (i * 7919) % 60))

describe('a process that runs a machine under I/O', () => {
  it('LOAD-15 killed at any moment has lost no write that was flushed', async () => {
    for (let i = 0; i < times(500, 8); i++) {
      const path = newDisk()
      const child = new Child(program, [path, 'close'])
      await child.says('ready')
      await moment(i)
      child.process.kill('SIGKILL')
      const { signal, stdout } = await child.ended()
      expect(signal).toBe('SIGKILL')
      await expectWhole(path, stdout)
    }
  })

  it('LOAD-32 suspended at any moment goes on from there', async () => {
    const path = newDisk()
    const child = new Child(program, [path, 'close'])
    const rounds = () => Number(child.stdout.split('\n').at(-2))
    const lives = () => child.process.exitCode === null && child.process.signalCode === null
    await child.says('ready')
    for (let i = 0; i < times(500, 8); i++) {
      await moment(i)
      child.process.kill('SIGSTOP')
      await moment(i + 1)
      const before = rounds()
      child.process.kill('SIGCONT')
      while (rounds() === before && lives()) await moment(0)
    }
    child.process.stdin!.write('\n')
    const { status, stdout } = await child.ended()
    expect(status).toBe(8)
    await expectWhole(path, stdout)
  })

  it.each<[string, { status: number | null; signal: string | null }]>([
    ['exit', { status: 7, signal: null }],
    ['throw', { status: 1, signal: null }],
    ['abort', { status: null, signal: 'SIGABRT' }],
    ['close', { status: 8, signal: null }],
    ['SIGTERM', { status: null, signal: 'SIGTERM' }],
    ['SIGINT', { status: null, signal: 'SIGINT' }],
    ['SIGHUP', { status: null, signal: 'SIGHUP' }],
  ])('LOAD-16 ends by %s at any moment, as it would without', async (ending, expected) => {
    for (let i = 0; i < times(100, 2); i++) {
      const path = newDisk()
      const child = new Child(program, [path, ending])
      await child.says('ready')
      await moment(i)
      if (ending.startsWith('SIG')) child.process.kill(ending as NodeJS.Signals)
      else child.process.stdin!.write('\n')
      const { status, signal, stdout } = await child.ended()
      expect({ status, signal }).toEqual(expected)
      await expectWhole(path, stdout)
    }
  })

  it('LOAD-16 ended by process.exit() leaves no socket behind', async () => {
    const socket = join(folder, 'vsock')
    for (const ending of ['exit', 'throw', 'close']) {
      const child = new Child(program, [newDisk(), ending, socket])
      await child.says('ready')
      expect(existsSync(socket)).toBe(true)
      child.process.stdin!.write('\n')
      await child.ended()
      expect(existsSync(socket)).toBe(false)
    }
  })
})
