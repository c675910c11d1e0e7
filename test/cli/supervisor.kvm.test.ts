import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { connect } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { CLI } from '../helpers/cli.js'
import { freePort } from '../helpers/free-port.js'
import { temporaryFolder } from '../helpers/temporary-folder.js'
import * as guest from '../machine/tiny-guest.js'

let folder: ReturnType<typeof temporaryFolder>
const children: ChildProcess[] = []
const env = () => ({ ...process.env, XDG_RUNTIME_DIR: folder.path('run') })
const sockets = () => folder.path('run', 'node-kvm')

beforeEach(() => {
  folder = temporaryFolder('supervisor')
  mkdirSync(folder.path('run'), { mode: 0o700 })
})
afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  folder[Symbol.dispose]()
})

function nodeKvm(args: string[], input = '') {
  return new Promise<{ status: unknown; stdout: string; stderr: string }>((resolve) => {
    const child = execFile(
      process.execPath,
      [CLI, ...args],
      { env: env() },
      (error, stdout, stderr) => resolve({ status: error ? error.code : 0, stdout, stderr }),
    )
    child.stdin!.end(input)
  })
}

/** Runs a machine that stays, and resolves when it can be seen. */
async function start(name: string, code: number[][], more: string[] = []): Promise<ChildProcess> {
  const kernel = folder.path(`kernel-${name}`)
  writeFileSync(kernel, guest.kernel(...code))
  const args = ['run', '--emulate', 'never', '-m', '32M', '-k', kernel, '--name', name, ...more]
  const child = spawn(process.execPath, [CLI, ...args], {
    env: env(),
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  child.stdout.resume()
  child.stderr.pipe(process.stderr)
  children.push(child)
  await expect.poll(() => existsSync(`${sockets()}/${name}.sock`), { interval: 50 }).toBe(true)
  return child
}

describe('a running machine', () => {
  it('is listed, inspected and stopped', async () => {
    const child = await start('one', [guest.spin])
    await start('two', [guest.spin])
    expect(statSync(sockets()).mode & 0o777).toBe(0o700)
    expect(statSync(`${sockets()}/one.sock`).mode & 0o777).toBe(0o600)

    // A machine can be seen before it runs.
    await expect
      .poll(async () => JSON.parse((await nodeKvm(['ps', '--json'])).stdout))
      .toMatchObject([
        { name: 'one', pid: child.pid, state: 'running', cpus: 1, memory: 32 * 2 ** 20 },
        { name: 'two', state: 'running' },
      ])
    expect((await nodeKvm(['ps', '-q'])).stdout).toBe('one\ntwo\n')
    const table = await nodeKvm(['ps'])
    expect(table.stdout).toMatch(/^NAME +PID .*\none +\d+ +running +1 +32 MiB/)
    expect(table.stdout).not.toContain('\x1b')

    const inspected = JSON.parse((await nodeKvm(['inspect', 'one'])).stdout)
    expect(inspected).toMatchObject({
      name: 'one',
      config: { memory: 32 * 2 ** 20, kernel: folder.path('kernel-one') },
      devices: { disks: [], console: { lost: 0 } },
    })
    expect(inspected.stats.vcpus).toHaveLength(1)

    const ended = once(child, 'exit')
    const stopped = await nodeKvm(['stop', 'one', '--force', '--json'])
    expect(JSON.parse(stopped.stdout)).toEqual({ name: 'one', reason: 'killed' })
    expect(await ended).toEqual([12, null])
    expect((await nodeKvm(['ps', '-q'])).stdout).toBe('two\n')
    expect(readdirSync(sockets())).toEqual(['two.sock'])
  })

  it('that does not heed its power button is ended', async () => {
    const child = await start('deaf', [guest.spin])
    const ended = once(child, 'exit')
    expect((await nodeKvm(['stop', 'deaf', '--timeout', '1'])).status).toBe(0)
    expect((await ended)[0]).toBe(12)
  })

  it('has a console to type on', async () => {
    const child = await start('echo', [guest.echoLine])
    const ended = once(child, 'exit')
    const { stdout, status } = await nodeKvm(['console', 'echo'], 'typed\n')
    expect(stdout).toBe('typed\n')
    expect(status).toBe(0)
    expect((await ended)[0]).toBe(0)
  })

  it('runs programs only if it has the agent', async () => {
    await start('bare', [guest.spin])
    const { status, stderr } = await nodeKvm(['exec', 'bare', '--', 'true'])
    expect(status).toBe(1)
    expect(stderr).toMatch(/^node-kvm: bare: .*agent/)
    for (const paths of [
      ['bare:/x', 'y'],
      [CLI, 'bare:/x'],
    ]) {
      const copied = await nodeKvm(['cp', ...paths])
      expect([copied.status, copied.stderr]).toEqual([
        1,
        expect.stringMatching(/^node-kvm: bare: .*agent/),
      ])
    }
  })

  it('keeps its name to itself', async () => {
    await start('only', [guest.spin])
    const kernel = folder.path('kernel-only')
    const args = ['run', '--emulate', 'never', '-m', '32M', '-k', kernel, '--name', 'only']
    const second = await nodeKvm(args)
    expect(second).toMatchObject({
      status: 1,
      stderr: 'node-kvm: a machine called only is running\n',
    })
    expect((await nodeKvm(['ps', '-q'])).stdout).toBe('only\n')
  })

  it('is not troubled by what comes to its socket', async () => {
    await start('hard', [guest.spin])
    const path = `${sockets()}/hard.sock`
    const speak = (bytes: string | Buffer) =>
      new Promise<string>((resolve) => {
        const socket = connect(path)
        let answer = ''
        socket.on('data', (text) => {
          answer += text
        })
        socket.on('close', () => resolve(answer)).on('error', () => {})
        socket.write(bytes)
      })
    for (const line of ['', 'x', 'null', '[]', '{"method":"__proto__"}', '{"method":"stop"}']) {
      expect(await speak(`${line}\n`)).toContain('not understood')
    }
    expect(await speak(Buffer.alloc(400_000, 'x'))).toContain('too long')
    connect(path)
      .on('error', () => {})
      .destroy()
    const idle = Array.from({ length: 20 }, () => connect(path).on('error', () => {}))
    for (const socket of idle) socket.destroy()
    await expect.poll(async () => (await nodeKvm(['ps', '-q'])).stdout).toBe('hard\n')
  })
})

describe('without a machine', () => {
  it('lists nothing, and clears what was left', async () => {
    mkdirSync(sockets(), { mode: 0o700 })
    const child = await start('gone', [guest.spin])
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
    writeFileSync(`${sockets()}/not-mine`, '')
    expect(JSON.parse((await nodeKvm(['ps', '--json'])).stdout)).toEqual([])
    expect(readdirSync(sockets())).toEqual(['not-mine'])
  })

  it.each([['console'], ['inspect'], ['stop'], ['exec', 'true']])(
    '%s says so',
    async (command, ...args) => {
      const { status, stderr } = await nodeKvm([command, 'nobody', ...args])
      expect([status, stderr]).toEqual([1, 'node-kvm: no machine called nobody is running\n'])
    },
  )

  it.each(['../x', '.', 'a b', '-x', 'x'.repeat(65)])('refuses the name %j', async (name) => {
    const { status, stderr } = await nodeKvm(['inspect', '--', name])
    expect(status).toBe(1)
    expect(stderr).toContain('name: expected')
  })

  it('trusts no directory that others can enter', async () => {
    mkdirSync(sockets())
    chmodSync(sockets(), 0o755)
    expect((await nodeKvm(['ps'])).stderr).toContain('mode 0700')
    rmSync(sockets(), { recursive: true })
    mkdirSync(folder.path('elsewhere'), { mode: 0o700 })
    symlinkSync(folder.path('elsewhere'), sockets())
    expect((await nodeKvm(['ps'])).stderr).toContain('mode 0700')
  })
})

describe('node-kvm run', () => {
  const file = (given: object) => {
    writeFileSync(folder.path('machine.json'), JSON.stringify(given))
    return folder.path('machine.json')
  }

  it('takes a configuration file, and what is given besides', async () => {
    writeFileSync(folder.path('kernel'), guest.kernel(guest.print('on'), guest.powerOff))
    const config = file({ kernel: 'kernel', memory: '32M' })
    const args = ['run', '--emulate', 'never', '--config', config]
    expect(await nodeKvm(args)).toMatchObject({ status: 0, stdout: 'on' })
    const more = await nodeKvm([...args, '--memory', '1M'])
    expect(more.stderr).toMatch(/^node-kvm: memory: expected/)
  })

  it('tells what is wrong with it by its path', async () => {
    const config = file({ kernel: 'k', disks: [{ path: 'd', queues: 0 }] })
    const { status, stderr } = await nodeKvm(['run', '--emulate', 'never', '--config', config])
    expect(status).toBe(1)
    expect(stderr).toBe(
      `node-kvm: ${config}: disks[0].queues: expected a whole number from 1 to 16, got 0\n`,
    )
  })

  it('tells as JSON how the guest ended', async () => {
    writeFileSync(folder.path('kernel'), guest.kernel(guest.tripleFault))
    const config = file({ kernel: 'kernel', memory: '32M' })
    const { status, stderr } = await nodeKvm([
      ...['run', '--emulate', 'never', '--config', config, '--json'],
    ])
    expect(status).toBe(11)
    expect(JSON.parse(stderr)).toMatchObject({ kind: 'crashed', status: 11 })
  })
})

describe('node-kvm run --metrics --trace', () => {
  it('serves metrics and writes a trace', async () => {
    const port = await freePort()
    const trace = folder.path('trace.json')
    const more = ['--metrics', `127.0.0.1:${port}`, '--trace', trace]
    const child = await start('watched', [guest.print('x'), guest.spin], more)
    const get = () => fetch(`http://127.0.0.1:${port}/metrics`).then((answer) => answer.text())
    await expect
      .poll(() => get().catch(String))
      .toContain('node_kvm_machine_running{machine="watched"} 1')
    const ended = once(child, 'exit')
    child.kill('SIGTERM')
    expect(await ended).toEqual([12, null])
    expect(JSON.parse(readFileSync(trace, 'utf8')).traceEvents).toBeInstanceOf(Array)
  })
})

describe('pipes', () => {
  it('may be closed by the reader', async () => {
    const child = spawn('sh', ['-c', `"$0" "$1" --help | head -c 1; true`, process.execPath, CLI], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let stderr = ''
    child.stderr.on('data', (text) => {
      stderr += text
    })
    await once(child, 'close')
    expect(stderr).toBe('')
  })
})
