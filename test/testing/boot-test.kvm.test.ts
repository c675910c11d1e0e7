import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { type BootTestOptions, bootTest } from '../../lib/testing.js'
import * as guest from '../machine/tiny-guest.js'

const folder = mkdtempSync(join(tmpdir(), 'node-kvm-boot-'))
afterAll(() => rmSync(folder, { recursive: true }))

const boot = (code: number[][], options: Partial<BootTestOptions> = {}) =>
  bootTest({ kernel: guest.kernel(...code), memory: '32M', logFolder: folder, ...options })
const lines = (...text: string[]) => guest.print(`${text.join('\r\n')}\r\n`)

describe('bootTest', () => {
  it('tells what a guest printed, and that it powered off', async () => {
    await using test = await boot([lines('hello'), guest.powerOff])
    expect((await test.console.waitFor(/h(.*)o/))[1]).toBe('ell')
    const result = await test.passed()
    expect(result).toMatchObject({ ok: true, log: 'hello\n', reason: { kind: 'shutdown' } })
    expect(result.logFile).toBeUndefined()
  })

  it('types what it is told to into the console', async () => {
    await using test = await boot([guest.echoLine])
    test.send('typed\n')
    await test.console.waitFor('typed')
    await test.passed()
  })

  it('reads an exit status', async () => {
    await using test = await boot([lines('node-kvm: exit 3'), guest.powerOff])
    expect(await test.result).toMatchObject({ exitCode: 3, failures: [{ kind: 'exit-code' }] })
  })

  it('fails for a failed test, and keeps the log', async () => {
    const ktap = ['KTAP version 1', '1..2', 'ok 1 fine', '# why', 'not ok 2 broken']
    await using test = await boot([lines(...ktap), guest.powerOff], { name: 'a suite/of mine' })
    await expect(test.passed()).rejects.toMatchObject({
      code: 'ERR_BOOT_TEST',
      message: expect.stringContaining('a suite/of mine: ktap: broken: failed\n    # why'),
    })
    const { logFile } = await test.result
    expect(logFile!.startsWith(join(folder, 'a-suite-of-mine-'))).toBe(true)
    expect(readFileSync(logFile!, 'utf8')).toContain('not ok 2 broken')
  })

  it('ends a kernel that panicked, and fails what waits', async () => {
    const panic = lines('[    0.100000] Kernel panic - not syncing: Attempted to kill init!')
    await using test = await boot([panic, guest.spin])
    await expect(test.console.waitFor('login:')).rejects.toThrow('the kernel panicked')
    const result = await test.result
    expect(result).toMatchObject({ reason: { kind: 'killed' }, failures: [{ kind: 'report' }] })
    expect(result.failures[0]!.message).toContain('Attempted to kill init!')
  })

  it('lets a kernel that panicked say all that it says', async () => {
    const panic = lines('Kernel panic - not syncing: x')
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    try {
      await using test = await boot([panic, guest.echoLine])
      await test.console.waitFor('syncing: x\n')
      for (let i = 0; i < 5; i++) {
        vi.advanceTimersByTime(1900)
        expect(test.vm.state).toBe('running')
        test.send('.')
        await test.console.waitFor('.')
      }
      vi.advanceTimersByTime(2100)
      expect((await test.result).reason).toEqual({ kind: 'killed' })
    } finally {
      vi.useRealTimers()
    }
  })

  it('lets what is allowed pass', async () => {
    const warning = lines('WARNING: CPU: 0 PID: 1 at a.c:1 f+0x0/0x1', '---[ end trace 0 ]---')
    await using strict = await boot([warning, guest.powerOff])
    expect((await strict.result).ok).toBe(false)
    await using lax = await boot([warning, guest.powerOff], { allow: ['warning'] })
    expect(await lax.passed()).toMatchObject({ reports: [{ kind: 'warning' }] })
    await using exact = await boot([warning, guest.powerOff], { allow: [/at a\.c:1 /] })
    await exact.passed()
    await using other = await boot([warning, guest.powerOff], { allow: [/at b\.c:1 /] })
    expect((await other.result).ok).toBe(false)
  })

  it('ends a guest that does not end', async () => {
    await using test = await boot([lines('busy'), guest.spin], { timeout: 300 })
    await expect(test.console.waitFor('never')).rejects.toThrow('within 300 ms')
    expect(await test.result).toMatchObject({ failures: [{ kind: 'timeout' }] })
  })

  it('ends with its signal', async () => {
    const abort = new AbortController()
    await using test = await boot([lines('busy'), guest.spin], { signal: abort.signal })
    await test.console.waitFor('busy')
    abort.abort()
    expect(await test.result).toMatchObject({ failures: [{ kind: 'aborted' }] })
    await expect(boot([guest.spin], { signal: abort.signal })).rejects.toBe(abort.signal.reason)
  })

  it('fails for a crash', async () => {
    await using test = await boot([guest.tripleFault])
    expect(await test.result).toMatchObject({ failures: [{ kind: 'stopped' }] })
  })

  it('takes the code of the debug exit device', async () => {
    const options = { devices: { debugExit: true } }
    await using test = await boot([guest.outb(0xf4, 5)], options)
    expect(await test.result).toMatchObject({ exitCode: 5, failures: [{ kind: 'exit-code' }] })
    await using fine = await boot([guest.outb(0xf4, 0)], options)
    expect(await fine.passed()).toMatchObject({ exitCode: 0 })
  })

  it('is over when it is closed', async () => {
    const test = await boot([guest.spin])
    await test.close()
    expect(await test.passed()).toMatchObject({ reason: { kind: 'killed' } })
  })

  it('keeps no log where none is wanted', async () => {
    const before = readdirSync(folder)
    await using test = await boot([guest.tripleFault], { logFolder: false })
    expect((await test.result).logFile).toBeUndefined()
    expect(readdirSync(folder)).toEqual(before)
  })

  it('tells of a log that could not be kept', async () => {
    await using test = await boot([guest.tripleFault], { logFolder: '/dev/null/logs' })
    expect((await test.result).failures.map(({ kind }) => kind)).toEqual(['stopped', 'log'])
  })
})

describe('bootTest refuses', () => {
  it.each<[string, object]>([
    ['timeout', { timeout: 0 }],
    ['timeout', { timeout: '1' }],
    ['run', { run: 5 }],
    ['signal', { signal: {} }],
    ['logFolder', { logFolder: '' }],
    ['logFolder', { logFolder: true }],
    ['logSize', { logSize: 1 }],
    ['logSize', { logSize: 'much' }],
    ['modules', { modules: ['dummy'] }],
    ['modules', { modules: 'dummy' }],
    ['allow[1]', { allow: ['warning', 'everything'] }],
    ['files', { files: ['x'] }],
    ['files["a"]', { files: { a: 5 } }],
    ['nonsense', { nonsense: 1 }],
    ['memory', { memory: 'much' }],
  ])('%s: %o', async (option, options) => {
    await expect(boot([guest.spin], options)).rejects.toMatchObject({
      code: 'ERR_INVALID_OPTION',
      option,
    })
  })

  it.each([undefined, null, 5])('%s', async (options) => {
    await expect(bootTest(options as never)).rejects.toMatchObject({ code: 'ERR_INVALID_OPTION' })
  })
})
