import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { afterAll, describe, expect, it } from 'vitest'
import { diagnose } from '../../lib/index.js'
import { CLI } from '../helpers/cli.js'
import { foreignEnvironment } from '../helpers/process-state.js'
import * as guest from '../machine/tiny-guest.js'

const folder = mkdtempSync(join(tmpdir(), 'node-kvm-cli-'))
afterAll(() => rmSync(folder, { recursive: true }))

function nodeKvm(...args: string[]) {
  return new Promise<{ status: number | string; stdout: string; stderr: string }>((resolve) => {
    const child = execFile(process.execPath, [CLI, ...args], (error, stdout, stderr) =>
      resolve({ status: error ? (error.code ?? String(error.signal)) : 0, stdout, stderr }),
    )
    child.stdin?.end()
  })
}

function kernel(...code: number[][]): string {
  const path = join(folder, `kernel-${code.flat().length}`)
  writeFileSync(path, guest.kernel(...code))
  return path
}

/** On this very KVM, whatever it is: these kernels run on any. */
const run = (path: string, ...more: string[]) =>
  nodeKvm('run', '--emulate', 'never', '--memory', '32M', '--kernel', path, ...more)

describe('node-kvm', () => {
  it('explains itself', async () => {
    const { status, stdout, stderr } = await nodeKvm('--help')
    expect(status).toBe(0)
    for (const command of [
      'run',
      'doctor',
      'host',
      'ps',
      'console',
      'stop',
      'inspect',
      'completion',
      'cp',
      'bench',
    ])
      expect(stdout).toContain(`  ${command} `)
    expect(stderr).toBe('')
  })

  it('explains run', async () => {
    const { status, stdout } = await nodeKvm('run', '--help')
    expect(status).toBe(0)
    expect(stdout).toContain('--kernel <path>')
    expect(stdout).toContain('Exit status:')
    expect(stdout).toContain('machine.schema.json')
  })

  it.each([
    [['run', '--kernel', 'x', '--nonsense'], '--nonsense'],
    [['run'], '--kernel'],
    [['run', '--kernel', 'x', '--cpus', 'two'], 'two'],
    [['run', '--kernel', 'x', '--disk', 'x,rw'], 'rw'],
    [['run', '--kernel', 'x', '--emulate', 'maybe'], 'maybe'],
    [['run', '--kernel', 'x', '--irqchip', 'user'], 'user'],
    [['run', '--kernel', 'x', '--numa', '1G,cpus=a'], 'cpus=a'],
    [['nonsense'], 'nonsense'],
    [['cp', 'a', 'b'], 'NAME:PATH'],
    [['cp', 'a:/x', 'b:/y'], 'NAME:PATH'],
    [['exec', '--json', '--tty', 'a', 'b'], '--json'],
  ])('%j is wrong usage', async (args, named) => {
    const { status, stdout, stderr } = await nodeKvm(...args)
    expect(status).toBe(2)
    expect(stderr).toContain(named)
    expect(stdout).toBe('')
  })

  it('tells of a missing kernel in one line', async () => {
    const { status, stdout, stderr } = await run('/no/such/kernel')
    expect(status).toBe(1)
    expect(stderr).toMatch(/^node-kvm: .*\/no\/such\/kernel.*\n$/)
    expect(stdout).toBe('')
  })

  it.each([
    ['--memory', '1M', 'memory'],
    ['--cpus', '0', 'cpus'],
    ['--cpus', '3,threads=2', 'topology'],
    ['--disk', '/no/such/disk', 'disks[0]'],
    ['--net', 'tap=nk-no-such', 'nets[0]'],
    ['--net', 'passt,forward=tcp:99999:80', 'forwards[0].hostPort'],
    ['--net', 'tap=tap0,queues=99', 'queues'],
    ['--virtio-mem', '3M', 'virtioMem.maxSize'],
    ['--watchdog', 'ib701', 'devices.watchdog.model'],
    ['--cpu-affinity', '0:1', 'cpuAffinity'],
    ['--numa', '32M,cpus=1', 'numa[0].cpus'],
    ['--vm-generation-id', 'x', 'devices.vmGenerationId'],
  ])('tells of a bad %s in one line', async (option, value, name) => {
    const { status, stderr } = await run(kernel(guest.powerOff), option, value)
    expect(status).toBe(1)
    expect(stderr.startsWith(`node-kvm: ${name}: `)).toBe(true)
    expect(stderr.trimEnd()).not.toContain('\n')
  })

  it.each([
    ['powers off', guest.powerOff, 0],
    ['resets', guest.resetByChipset, 10],
    ['crashes', guest.tripleFault, 11],
  ])('shows what a guest says that %s', async (_, end, expected) => {
    const { status, stdout } = await run(kernel(guest.print('hello\n'), end))
    expect(stdout).toBe('hello\n')
    expect(status).toBe(expected)
  })

  it('runs bare machine code, without ACPI', async () => {
    const path = join(folder, 'flat')
    writeFileSync(path, Uint8Array.from([...guest.print('flat'), ...guest.powerOff, ...guest.spin]))
    const { status, stdout } = await run(
      path,
      '--flat',
      'long',
      '--no-acpi',
      '--cpus',
      '2,threads=2',
    )
    expect(stdout).toBe('flat')
    expect(status).toBe(0)
  })

  it('gives the guest the PC that was asked for', async () => {
    const options = [
      ...['--cpus', '2', '--numa', '16M,cpus=0,host=0', '--numa', '16M,cpus=1,distances=20+10'],
      ...['--irqchip', 'split', '--virtio-mem', '64M,size=32M,node=1', '--watchdog', 'i6300esb'],
      ...['--cpu-affinity', '0:', '--test-device', '--vm-generation-id'],
    ]
    const { status, stdout } = await run(
      kernel(guest.print('all of it'), guest.powerOff),
      ...options,
    )
    expect(stdout).toBe('all of it')
    expect(status).toBe(0)
  })

  it('tells of a driver that breaks the rules, and goes on', async () => {
    const disk = join(folder, 'disk')
    writeFileSync(disk, new Uint8Array(4096))
    const nowhere = 0x7000_0000
    const queue = { size: 8, descriptorArea: nowhere, driverArea: nowhere, deviceArea: nowhere }
    const path = kernel(guest.startDevice(0, queue), guest.print('on'), guest.powerOff)
    const { status, stdout, stderr } = await run(
      path,
      '--transport',
      'mmio',
      '--disk',
      `${disk},readonly`,
    )
    expect(stderr).toMatch(/node-kvm: block0 waits for a reset by its driver: 2\.7: \w/)
    expect(stdout).toBe('on')
    expect(status).toBe(0)
  })

  it('says at the end what the guest exited for, if asked', async () => {
    const path = kernel(guest.print('on'), guest.powerOff)
    const { status, stderr } = await run(path, '--stats')
    expect(stderr).toMatch(/^KVM_EXIT_IO +\d+ /m)
    expect(stderr).toMatch(/^0x604 +write +acpi-pm +1 +1 /m)
    expect(status).toBe(0)
  })

  it('waits for gdb, and refuses a place that cannot be listened at', async () => {
    const path = kernel(guest.print('on'), guest.powerOff)
    const socket = join(folder, 'gdb')
    const running = run(path, '--gdb', socket, '--gdb-wait')
    while (!existsSync(socket)) await sleep(10)
    // Seconds for an answer; two by itself.
    const patient = ['-ex', 'set remotetimeout 120']
    const commands = [...patient, '-ex', `target remote ${socket}`, '-ex', 'continue']
    const env = foreignEnvironment
    const { stdout } = await promisify(execFile)('gdb', ['-nx', '-batch', ...commands], { env })
    expect(stdout).toContain('exited normally')
    expect(await running).toMatchObject({ status: 0, stdout: 'on' })
    const { status, stderr } = await run(path, '--gdb', '/no/such/folder/gdb')
    expect(stderr).toContain('gdb.path')
    expect(status).not.toBe(0)
    const emulated = await nodeKvm('run', '-k', path, '--emulate', 'always', '--gdb', '0')
    expect(emulated.stderr).toContain('--gdb: expected a KVM of this machine')
    expect(emulated.status).not.toBe(0)
  })

  it('ends a guest that takes too long', async () => {
    const { status } = await run(kernel(guest.spin), '--timeout', '1')
    expect(status).toBe(124)
  })
})

it('node-kvm doctor --json tells what diagnose() does', async () => {
  const { status, stdout } = await nodeKvm('doctor', '--json')
  const findings = JSON.parse(stdout)
  const { kvm } = await diagnose()
  expect(findings.kvm.state).toBe(kvm.state)
  expect(status).toBe(kvm.state === 'fine' ? 0 : 1)
  expect(Object.keys(findings).sort()).toEqual(Object.keys(await diagnose()).sort())
})

describe('node-kvm bench', () => {
  it('measures what any KVM can do', async () => {
    const { status, stdout, stderr } = await nodeKvm('bench', '--quick', '--json', 'exits', 'start')
    expect([status, stderr]).toEqual([0, ''])
    const { host, figures, missing } = JSON.parse(stdout)
    expect(missing).toEqual([])
    expect(host).toMatchObject({ node: process.version })
    expect(figures.map(({ unit, runs }: { unit: string; runs: number }) => [unit, runs])).toEqual([
      ['ms', 3],
      ['per s', 2],
      ['per s', 2],
      ['per s', 2],
    ])
    for (const { smallest, median, largest } of figures) {
      expect(smallest).toBeGreaterThan(0)
      expect(median).toBeGreaterThanOrEqual(smallest)
      expect(largest).toBeGreaterThanOrEqual(median)
    }
  })

  it('measures this process where machines have one of their own otherwise', async () => {
    const env = { ...process.env, NODE_KVM_ISOLATION: 'process' }
    const args = [CLI, 'bench', '--quick', '--json', 'start']
    const { stdout } = await promisify(execFile)(process.execPath, args, { env })
    expect(JSON.parse(stdout)).toMatchObject({ figures: [{ unit: 'ms' }], missing: [] })
  })

  it('prints a table for people, and takes no part that there is not', async () => {
    const { stdout } = await nodeKvm('bench', '--quick', 'start')
    expect(stdout).toMatch(/^FIGURE +MEDIAN +UNIT +RANGE\ncreate a machine.* ms /)
    expect(await nodeKvm('bench', 'nonsense')).toMatchObject({ status: 2, stdout: '' })
  })
})

describe('devices for those who write kernels', () => {
  it('a guest ends with a code, after what it said on its debug console', async () => {
    const said = [...Buffer.from('hello')].map((byte) => guest.outb(0xe9, byte))
    const log = join(folder, 'debug.log')
    const path = kernel(...said, guest.outb(0xf4, 0x2a))
    const { status, stderr } = await run(path, '--debug-exit', '--debugcon', log)
    expect(status).toBe(0x55)
    expect(stderr).toContain('the guest ended with code 42')
    expect(readFileSync(log, 'utf8')).toBe('hello')
  })

  it('a guest panics', async () => {
    const path = kernel(guest.outb(0x505, 1))
    expect(await run(path, '--pvpanic')).toMatchObject({ status: 13 })
  })

  it('a debug console that cannot be written is an error', async () => {
    const { status, stderr } = await run(kernel(guest.powerOff), '--debugcon', folder)
    expect(status).toBe(1)
    expect(stderr).toContain('EISDIR')
  })
})
