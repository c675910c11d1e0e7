import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CustomDisk, MemoryDisk, VirtualSwitch } from '../../lib/index.js'
import { sanitized } from '../helpers/process-state.js'
import { sparseFile } from '../helpers/sparse-file.js'
import { Child, compileProgram } from './child.js'
import { create, held, heldMoreThan } from './machine.js'
import { times } from './size.js'

/** The collector lets it grow and shrink by some 15 MiB, as it comes, which would hide what leaks. */
const SMALL_YOUNG_GENERATION = ['env', 'NODE_OPTIONS=--max-semi-space-size=1']

const folder = mkdtempSync(join(tmpdir(), 'node-kvm-load-'))
afterAll(() => rmSync(folder, { recursive: true }))

describe('machines one after another', () => {
  beforeAll(async () => {
    for (let i = 0; i < 5; i++) await (await create()).close()
  })

  it.each([
    ['LOAD-01 to their first byte', 'first byte'],
    ['PORT-09 that reset themselves', 'reset'],
    ['LOAD-29 that start anew', 'restart'],
  ])('%s leave nothing behind and do not grow', async (_name, kind) => {
    const cycles = times(1000, 20)
    const program = await compileProgram('cycles')
    const child = new Child(program, [kind, String(cycles)], SMALL_YOUNG_GENERATION)
    await child.says('\n')
    const { growth, more } = JSON.parse(child.stdout) as { growth: number; more: number[] }
    expect(more).toEqual([0, 0, 0])
    // Of the collector's own heap, which takes its time, less is said; and AddressSanitizer keeps what is freed.
    if (!sanitized) expect(growth).toBeLessThan(cycles >= 1000 ? 4096 : 16_384)
    console.log(`${cycles} cycles, ${growth} KiB more`)
    expect((await child.ended()).status).toBe(0)
  })

  it('LOAD-02 whose disks and cards fail to open leave nothing behind', async () => {
    const before = held()
    const disks = () => Array.from({ length: 4 }, () => new MemoryDisk(4096))
    for (let i = 0; i < times(1000, 20); i++) {
      const broken = new CustomDisk({ size: 512, read: async () => new Uint8Array(512) })
      Object.assign(broken, { open: () => Promise.reject(new Error('does not open')) })
      const all = [...disks()]
      all.splice(i % 4, 0, broken as never)
      await expect(create({ disks: all, rng: true, vsock: {} })).rejects.toThrow('does not open')
    }
    expect(await heldMoreThan(before)).toEqual([0, 0, 0])
  })

  it.each(['mmio', 'pci'] as const)(
    'LOAD-03 dropped without close() are collected: %s',
    async (transport) => {
      const before = held()
      const rounds = times(1000, 20)
      const drop = async () => {
        for (let i = 0; i < Math.min(10, rounds); i++)
          await create({
            rng: true,
            vsock: {},
            virtioConsole: {},
            balloon: {},
            transport,
            nets: [new VirtualSwitch().port()],
          })
        await create({ disks: [new MemoryDisk(4096)] })
      }
      for (let done = 0; done < rounds; done += 20) {
        await drop()
        expect(await heldMoreThan(before)).toEqual([0, 0, 0])
      }
    },
  )
})

describe('creation with no more descriptors', () => {
  it('LOAD-02 fails at each descriptor in turn, says so, and leaves none open', async () => {
    const path = sparseFile(join(folder, 'disk'), 2 ** 20)
    const child = new Child(await compileProgram('limited'), [path])
    await child.says('ready')
    const open = Number(/ready (\d+)/.exec(child.stdout)![1])
    const answer = async (limit: number) => {
      execFileSync('prlimit', [`--pid=${child.process.pid}`, `--nofile=${limit}:`])
      const before = child.stdout.length
      child.process.stdin!.write('\n')
      while (!child.stdout.slice(before).includes('\n'))
        await child.says(child.stdout).then(() => new Promise((resolve) => setTimeout(resolve, 1)))
      return JSON.parse(child.stdout.slice(before)) as {
        created?: true
        code?: string
        name?: string
      }
    }
    let refused = 0
    for (let limit = open - 2; ; limit++) {
      const said = await answer(limit)
      if (said.created) break
      refused++
      expect(said.code).toMatch(/^(EMFILE|ERR_)/)
      // Nothing of it stays: with room enough the next succeeds.
      if (refused % 8 === 0) expect(await answer(4096)).toEqual({ created: true })
      expect(refused).toBeLessThan(500)
    }
    console.log(`${refused} descriptors refused in turn`)
    expect(refused).toBeGreaterThan(20)
    child.process.stdin!.end()
    expect((await child.ended()).status).toBe(0)
  })
})
