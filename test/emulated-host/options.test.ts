import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { runInEmulatedHost } from '../../lib/emulated-host/emulated-host.js'
import { checkOptions, type EmulatedHostOptions } from '../../lib/emulated-host/options.js'
import { qemuArguments } from '../../lib/emulated-host/qemu.js'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'node-kvm-options-'))
})
afterEach(() => {
  rmSync(directory, { recursive: true, force: true })
})

describe('checkOptions', () => {
  it('fills in what is not told', () => {
    expect(checkOptions({})).toMatchObject({ cpus: 2, icount: false, cwd: process.cwd() })
    expect(checkOptions({ icount: true }).cpus).toBe(1)
    expect(checkOptions({}).memoryMiB).toBeLessThanOrEqual(4096)
  })

  it('takes folders by their real paths', () => {
    symlinkSync('/usr', join(directory, 'link'))
    const { cwd, shareReadWrite } = checkOptions({
      cwd: join(directory, 'link'),
      shareReadWrite: [join(directory, 'link/lib/..')],
    })
    expect([cwd, ...shareReadWrite]).toEqual(['/usr', '/usr'])
  })

  const tooMuch = Math.floor(totalmem() / 2 ** 20) + 1
  const bad: [string, EmulatedHostOptions][] = [
    ['memoryMiB', { memoryMiB: 511 }],
    ['memoryMiB', { memoryMiB: tooMuch }],
    ['memoryMiB', { memoryMiB: 1024.5 }],
    ['cpus', { cpus: 0 }],
    ['cpus', { cpus: 65 }],
    ['cpus', { cpus: 2, icount: true }],
    ['timeoutSeconds', { timeoutSeconds: 0 }],
    ['timeoutSeconds', { timeoutSeconds: Number.NaN }],
    ['timeoutSeconds', { timeoutSeconds: 1e9 }],
    ['stallSeconds', { stallSeconds: -1 }],
    ['cwd', { cwd: '/no/such/folder' }],
    ['shareReadWrite[0]', { shareReadWrite: ['/'] }],
    ['shareReadWrite[1]', { shareReadWrite: ['/usr', '/etc/passwd'] }],
  ]
  it.each(bad)('refuses a %s that cannot be used: %o', (option, options) => {
    const refusal = expect.objectContaining({ code: 'ERR_INVALID_OPTION', option })
    expect(() => checkOptions(options)).toThrow(refusal)
  })
})

describe('runInEmulatedHost, before it starts anything', () => {
  it('refuses an empty command', async () => {
    await expect(runInEmulatedHost([])).rejects.toMatchObject({ code: 'ERR_INVALID_OPTION' })
    await expect(runInEmulatedHost([''])).rejects.toMatchObject({ code: 'ERR_INVALID_OPTION' })
  })

  it('names the Debian package when there is no QEMU', async () => {
    const path = process.env.PATH
    process.env.PATH = directory
    try {
      await expect(runInEmulatedHost(['true'])).rejects.toMatchObject({
        code: 'ERR_MISSING_PROGRAM',
        message: 'qemu-system-x86_64 is not installed: apt-get install qemu-system-x86',
      })
    } finally {
      process.env.PATH = path
    }
  })

  it('names another QEMU that is not there, or cannot be run', async () => {
    const qemu = join(directory, 'qemu')
    const refusal = { code: 'ERR_MISSING_PROGRAM', message: expect.stringContaining(qemu) }
    await expect(runInEmulatedHost(['true'], { qemu })).rejects.toMatchObject(refusal)
    writeFileSync(qemu, 'no program', { mode: 0o644 })
    await expect(runInEmulatedHost(['true'], { qemu })).rejects.toMatchObject(refusal)
  })

  it('does not run inside itself', async () => {
    process.env.NODE_KVM_EMULATED_HOST = '1'
    try {
      await expect(runInEmulatedHost(['true'])).rejects.toMatchObject({ code: 'ERR_EMULATED_HOST' })
    } finally {
      delete process.env.NODE_KVM_EMULATED_HOST
    }
  })
})

describe('qemuArguments', () => {
  const usual = { memoryMiB: 512, cpus: 1, icount: false, terminal: false, kernel: 'k' }

  it.each([
    [1, '1', false],
    [2, '3', true],
  ])(
    'for %i processors gives the machine %s, the first without programs: %s',
    (cpus, smp, isolated) => {
      const args = qemuArguments({ ...usual, cpus, shareReadWrite: [] })
      expect(args[args.indexOf('-smp') + 1]).toBe(smp)
      expect(args[args.indexOf('-append') + 1]!.includes('isolcpus=0')).toBe(isolated)
    },
  )

  it('writes a comma in a path so that QEMU does not see an option there', () => {
    const args = qemuArguments({ ...usual, shareReadWrite: ['/a,readonly=on'] })
    expect(args.filter((arg) => arg.includes('/a'))).toEqual([
      'local,path=/a,,readonly=on,mount_tag=share0,security_model=none,multidevs=remap',
    ])
  })
})
