import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { type JailOptions, jailCommand, jailProgram } from '../../lib/index.js'
import { root } from '../helpers/imports.js'
import { foreignEnvironment, isAlive, PATIENCE } from '../helpers/process-state.js'
import { compileProgram } from '../load/child.js'

const folder = mkdtempSync(join(tmpdir(), 'node-kvm-jail-'))
afterAll(() => rmSync(folder, { recursive: true }))
const inside = join(folder, 'inside')
mkdirSync(inside)
writeFileSync(join(inside, 'allowed'), '')
const secret = join(folder, 'secret')
writeFileSync(secret, 'secret')
const programs = fileURLToPath(new URL('.', import.meta.url))

/** As much as Node itself needs. */
const NODE: JailOptions = {
  system: true,
  exec: [dirname(dirname(process.execPath))],
  read: [programs, root],
}

function inJail(options: JailOptions, args: readonly string[]) {
  const [command, all] = jailCommand({ ...NODE, ...options }, process.execPath, args)
  const left = openSync(secret, 'r')
  try {
    const stdio = ['ignore', 'pipe', 'pipe', ...Array(6).fill('ignore'), left]
    return spawnSync(command, all, { cwd: inside, encoding: 'utf8', stdio, timeout: PATIENCE })
  } finally {
    closeSync(left)
  }
}

describe('a program in a jail', () => {
  it('can do nothing of what is forbidden, and what is allowed', async () => {
    const outside = join(folder, 'program')
    copyFileSync('/bin/true', outside)
    const server = createServer().listen(0, '127.0.0.1')
    const abstract = createServer().listen(`\0node-kvm-jail-${process.pid}`)
    await Promise.all([once(server, 'listening'), once(abstract, 'listening')])
    const { port } = server.address() as { port: number }
    const args = [secret, outside, port, process.pid, `node-kvm-jail-${process.pid}`].map(String)
    const run = (options: JailOptions) => {
      const { stdout, stderr } = inJail(options, [join(programs, 'forbidden.mjs'), ...args])
      const lines = stdout.split('\n').filter(Boolean)
      if (lines.length === 0) throw new Error(stderr)
      return Object.fromEntries(lines.map((line) => JSON.parse(line) as [string, string]))
    }
    try {
      const outcomes = run({ write: [inside], limits: { nofile: 64 } })
      const { 'what is allowed': allowed, ...forbidden } = outcomes
      expect(allowed).toBe('written')
      expect(Object.keys(forbidden).length).toBeGreaterThan(10)
      expect(Object.entries(forbidden).filter(([, outcome]) => outcome === 'DONE')).toEqual([])
      // What is refused is what is not allowed: the same connection may be made where it is.
      const connected = run({ write: [inside], connect: [port], limits: { nofile: 64 } })
      expect(connected['connect to a port']).toBe('DONE')
    } finally {
      server.close()
      abstract.close()
    }
  })

  it('runs a machine with a disk', async () => {
    const disk = join(inside, 'disk')
    writeFileSync(disk, new Uint8Array(2 ** 16))
    const program = await compileProgram('jailed')
    const { stdout, stderr, status } = inJail({ kvm: true, write: [inside] }, [program, disk])
    expect({ stdout, stderr, status }).toEqual({ stdout: 'verified\n', stderr: '', status: 0 })
  })

  it.each<[string, string[]]>([
    ['nothing', []],
    ['no program', ['--system', '--']],
    ['an unknown option', ['--open', '/', '--', '/bin/true']],
    ['an option without a value', ['--read', '--', '/bin/true']],
    ['a port that is none', ['--bind', '65536', '--', '/bin/true']],
    ['a limit that is none', ['--limit', 'speed=1', '--', '/bin/true']],
    ['a limit without a number', ['--limit', 'nofile=many', '--', '/bin/true']],
    ['a program that is not there', ['--', '/bin/nothing']],
    ['a program that it may not execute', ['--', '/bin/true']],
  ])('is not started by %s', (_name, args) => {
    const { status, stderr } = spawnSync(jailProgram(), args, { encoding: 'utf8' })
    expect(status).toBe(2)
    expect(stderr).toContain('node-kvm-jail')
  })
})

it('a program in a jail ends with who started it, if it is to', async () => {
  const [command, args] = jailCommand({ system: true, dieWithParent: true }, '/usr/bin/sleep', [
    '99',
  ])
  const shell = spawn('sh', ['-c', '"$0" "$@" & echo $!; wait', command, ...args], {
    env: foreignEnvironment,
  })
  const [said] = await once(shell.stdout, 'data')
  const pid = Number(said)
  await expect.poll(() => readFileSync(`/proc/${pid}/comm`, 'utf8')).toBe('sleep\n')
  shell.kill('SIGKILL')
  await expect.poll(() => isAlive(pid)).toBe(false)
})

describe('node-kvm-jail of the package', () => {
  const program = join(root, 'dist/bundle/cli/jail.js')

  it('is the launcher', () => {
    const help = spawnSync(process.execPath, [program, '--help'], { encoding: 'utf8' })
    expect(help.stdout).toContain('usage: node-kvm-jail')
    const run = (script: string) => {
      const args = [program, '--system', '--', '/usr/bin/sh', '-c', script]
      return spawnSync(process.execPath, args, { env: foreignEnvironment })
    }
    expect(run('exit 5').status).toBe(5)
    expect(run('kill -TERM $$').signal).toBe('SIGTERM')
  })
})

describe('jailCommand', () => {
  it.each<[JailOptions, string, string]>([
    [{}, 'node', 'program'],
    [{ read: [''] }, '/bin/true', 'read[0]'],
    [{ write: ['/', 5 as never] }, '/bin/true', 'write[1]'],
    [{ exec: ['a\0b'] }, '/bin/true', 'exec[0]'],
    [{ connect: [65_536] }, '/bin/true', 'connect[0]'],
    [{ bind: [1.5] }, '/bin/true', 'bind[0]'],
    [{ keepFds: [-1] }, '/bin/true', 'keepFds[0]'],
    [{ limits: { nofile: Number.NaN } }, '/bin/true', 'limits.nofile'],
    [{ limits: { speed: 1 } as never }, '/bin/true', 'limits.speed'],
  ])('refuses %j for %s', (options, program, option) => {
    expect(() => jailCommand(options, program)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION', option }),
    )
  })
})
