import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Readable, Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { runInEmulatedHost } from '../../lib/emulated-host/emulated-host.js'
import type { EmulatedHostOptions } from '../../lib/emulated-host/options.js'
import { root } from '../helpers/imports.js'

// Each start of the host takes seconds, and on a machine that is busy many of them.
const LIMIT_MS = 400_000
const timeoutSeconds = 300

let share: string
beforeAll(async () => {
  const { buildTypescript } = (await import(
    pathToFileURL(join(root, 'scripts/lib/typescript.mjs')).href
  )) as { buildTypescript: () => void }
  buildTypescript()
})
beforeEach(() => {
  share = mkdtempSync(join(tmpdir(), 'node-kvm-host-test-'))
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(share, { recursive: true, force: true })
})

class Collect extends Writable {
  readonly chunks: Buffer[] = []
  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.chunks.push(chunk)
    done()
  }
  get bytes(): Buffer {
    return Buffer.concat(this.chunks)
  }
}

async function run(script: string, options: EmulatedHostOptions = {}) {
  const stdout = new Collect()
  const stderr = new Collect()
  const result = await runInEmulatedHost(['bash', '-c', script], {
    ...{ stdin: 'ignore', stdout, stderr, timeoutSeconds, shareReadWrite: [share], ...options },
    env: { SHARE: share, ...options.env },
  })
  return { ...result, stdout: stdout.bytes, stderr: stderr.bytes }
}

/** The process ids of the QEMUs that share our folder. */
function emulators(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(`path=${share},`)
      } catch {
        return false
      }
    })
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(50)
}

const KVM_HOST = join(root, 'scripts/kvm-host')

describe('runInEmulatedHost', { timeout: LIMIT_MS }, () => {
  it('runs a command as on this machine, with a KVM that runs stock kernels', async () => {
    const input = Buffer.from(Array.from({ length: 70_000 }, (_, index) => index % 251))
    const doctor = `import { diagnose } from ${JSON.stringify(join(root, 'dist/lib/index.js'))}
      console.log(JSON.stringify(await diagnose()))`
    const script = `
      echo "$PWD $(id -u) $HELLO $NODE_KVM_EMULATED_HOST $NODE_EXTRA_CA_CERTS." >$SHARE/self
      taskset -cp $$ | grep -o '[^ ]*$' >$SHARE/processors
      tee $SHARE/stdin
      printf 'to stderr, without a newline' >&2
      node --input-type=module -e "$DOCTOR" >$SHARE/doctor 2>&1
      echo changed >/etc/node-kvm-test && cp /etc/node-kvm-test $SHARE/overlay
      { ip tuntap add dev tap7 mode tap && ip -o link show; } >$SHARE/links 2>&1
      for device in kvm net/tun vhost-net shm pts/ptmx; do [ -e /dev/$device ] || echo no $device; done >$SHARE/missing
      sleep 1000 &
      exit 7`
    vi.stubEnv('NODE_EXTRA_CA_CERTS', '/none')
    const { exitCode, signal, faults, stdout, stderr } = await run(script, {
      cwd: '/usr/share',
      env: { HELLO: 'it is "me"', DOCTOR: doctor },
      stdin: Readable.from([input.subarray(0, 50_000), input.subarray(50_000)]),
    })
    const shared = (name: string) => readFileSync(join(share, name))
    expect({ exitCode, signal, faults }).toEqual({ exitCode: 7, signal: undefined, faults: [] })
    expect(createHash('sha256').update(stdout).digest('hex')).toBe(
      createHash('sha256').update(input).digest('hex'),
    )
    expect(stdout.equals(shared('stdin'))).toBe(true)
    expect(String(stderr)).toBe('to stderr, without a newline')
    expect(String(shared('self'))).toBe('/usr/share 0 it is "me" 1 .\n')
    expect(String(shared('processors'))).toBe('1,2\n')
    expect(String(shared('overlay'))).toBe('changed\n')
    expect(existsSync('/etc/node-kvm-test')).toBe(false)
    expect(String(shared('missing'))).toBe('')
    expect(String(shared('links'))).toMatch(/lo: <[^>]*UP.*\n.*tap7:/)
    expect(JSON.parse(String(shared('doctor'))).kvm).toMatchObject({ state: 'fine' })
    expect(emulators()).toEqual([])
  })

  it('ends the host when the time is up', async () => {
    const error = expect.objectContaining({ code: 'ERR_TIMEOUT' })
    await expect(run('sleep 1000', { timeoutSeconds: 0.5 })).rejects.toEqual(error)
    expect(emulators()).toEqual([])
  })

  it('ends the host when it is told to', async () => {
    const controller = new AbortController()
    const running = run('sleep 1000', { signal: controller.signal })
    const settled = expect(running).rejects.toThrow('enough')
    await until(() => emulators().length > 0)
    controller.abort(new Error('enough'))
    await settled
    expect(emulators()).toEqual([])
  })

  it('starts again, once, when the emulator aborts', async () => {
    const script =
      'if [ -e $SHARE/again ]; then echo again; else touch $SHARE/again; sleep 1000; fi'
    const running = run(script)
    await until(() => existsSync(join(share, 'again')))
    for (const pid of emulators()) process.kill(pid, 'SIGABRT')
    const { exitCode, faults, stdout } = await running
    expect({ exitCode, faults }).toEqual({
      exitCode: 0,
      faults: ['the emulator ended with SIGABRT'],
    })
    expect(String(stdout)).toBe('again\n')
  })

  it('does not start again when some of the input is gone', async () => {
    const stdin = new PassThrough()
    stdin.write('a line\n')
    const running = run('read -r line && touch $SHARE/read && sleep 1000', { stdin })
    const settled = expect(running).rejects.toMatchObject({
      code: 'ERR_EMULATED_HOST',
      value: ['the emulator ended with SIGABRT'],
    })
    await until(() => existsSync(join(share, 'read')))
    for (const pid of emulators()) process.kill(pid, 'SIGABRT')
    await settled
  })

  it('tells an emulator that stalls from a command that is silent', async () => {
    const reports: string[] = []
    const running = run('touch $SHARE/up; sleep 1000', {
      ...{ stallSeconds: 30, repeat: false, report: (text: string) => reports.push(text) },
    })
    const settled = expect(running).rejects.toMatchObject({
      code: 'ERR_EMULATED_HOST',
      value: ['the emulator stalled'],
    })
    await until(() => existsSync(join(share, 'up')))
    for (const pid of emulators()) process.kill(pid, 'SIGSTOP')
    await settled
    expect(reports.filter((text) => text.includes('starting'))).toHaveLength(1)
    expect(emulators()).toEqual([])
  })
})

describe('scripts/kvm-host', { timeout: LIMIT_MS }, () => {
  const start = (options: readonly string[], command: readonly string[]) =>
    spawn(KVM_HOST, ['--share-rw', share, ...options, '--', ...command], { stdio: 'ignore' })

  it.each(['SIGKILL', 'SIGTERM', 'SIGINT', 'SIGHUP'] as const)(
    'leaves no emulator behind when it dies of %s',
    async (signal) => {
      const launcher = start([], ['sleep', '1000'])
      const exited = new Promise((resolve) => launcher.on('exit', (_, by) => resolve(by)))
      await until(() => emulators().length > 0)
      launcher.kill(signal)
      expect(await exited).toBe(signal)
      await until(() => emulators().length === 0)
    },
  )

  it('gives the command a terminal where it has one itself', async () => {
    const command = `${KVM_HOST} --timeout ${timeoutSeconds} -- sh -c 'tty; stty size; echo err >&2; exit 5'`
    const terminal = spawn('script', ['-qec', `stty rows 31 cols 97; ${command}`, '/dev/null'], {
      stdio: ['pipe', 'pipe', 'ignore'],
    })
    const output: Buffer[] = []
    terminal.stdout.on('data', (chunk: Buffer) => output.push(chunk))
    const status = await new Promise((resolve) => terminal.on('close', resolve))
    expect(String(Buffer.concat(output))).toMatch(/\/dev\/hvc0\r\n31 97\r\nerr\r\n$/)
    expect(status).toBe(5)
  })

  it.each([
    [['--timeout', '0.5', '--', 'sleep', '1000'], 124, /ended after 0.5 seconds/],
    [['--qemu', '/no/such/qemu', '--', 'true'], 125, /\/no\/such\/qemu is not installed/],
    [['--memory', '1', '--', 'true'], 125, /memoryMiB: expected an integer from 512/],
    [['--memory', 'much', '--', 'true'], 125, /--memory/],
    [['--cpus', '2'], 125, /missing required argument/],
    [['--help'], 0, /^Usage: kvm-host/],
  ] as const)('%j: status %d', async (args, status, message) => {
    const child = spawn(KVM_HOST, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    child.stdout.on('data', (chunk) => (output += chunk))
    child.stderr.on('data', (chunk) => (output += chunk))
    expect(await new Promise((resolve) => child.on('close', resolve))).toBe(status)
    expect(output).toMatch(message)
  })
})
