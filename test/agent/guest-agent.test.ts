import { once } from 'node:events'
import { chmodSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PassThrough, Readable, Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { OUTPUT_WINDOW, SESSIONS_MAX } from '../../lib/agent/protocol.js'
import { isAlive } from '../helpers/process-state.js'
import { AgentRig, codeOf } from './agent-rig.js'

let rig: AgentRig
beforeAll(async () => {
  rig = await AgentRig.start()
})
afterAll(async () => {
  await rig[Symbol.asyncDispose]()
})
const sh = (script: string, options = {}) => rig.agent.exec(['sh', '-c', script], options)

describe('exec', () => {
  it('gives what a program wrote and how it ended', async () => {
    expect(await sh('echo out; echo err >&2; exit 7')).toEqual({
      stdout: 'out\n',
      stderr: 'err\n',
      exitCode: 7,
      signal: null,
    })
    expect(await sh('kill -TERM $$')).toMatchObject({ exitCode: null, signal: 'SIGTERM' })
  })

  it('has ended when the stream that takes its output has taken all of it', async () => {
    let taken = 0
    const slow = new Writable({
      highWaterMark: 2 ** 20,
      write(chunk: Buffer, _encoding, done) {
        setTimeout(() => {
          taken += chunk.length
          done()
        }, 50)
      },
    })
    const result = await sh('for i in 1 2 3; do echo $i; sleep 0.01; done', { stdout: slow })
    expect([taken, result.stdout, slow.writableEnded]).toEqual([6, '', false])
  })

  it('ends with the error of a stream that takes its output, ended or destroyed too', async () => {
    const failing = new Writable({ write: (_chunk, _encoding, done) => done(new Error('full')) })
    await expect(sh('echo; sleep 60', { stdout: failing })).rejects.toThrow('full')
    for (const stop of ['end', 'destroy'] as const) {
      const stream = new PassThrough()
      const ended = sh('echo; sleep 60', { stdout: stream })
      await once(stream, 'readable')
      stream[stop]()
      stream.resume()
      await expect(ended).rejects.toThrow()
    }
  })

  it('finds programs by PATH, and says what is missing', async () => {
    expect(await codeOf(rig.agent.exec(['/nowhere/program']))).toBe('ERR_EXEC')
    await expect(rig.agent.exec(['no-such-program'])).rejects.toMatchObject({
      code: 'ERR_EXEC',
      value: 'no-such-program',
      cause: { code: 'ENOENT' },
    })
    const script = join(rig.folder, 'tool')
    writeFileSync(script, '#!/bin/sh\necho found\n')
    const env = { PATH: `:/nowhere:${rig.folder}` }
    await expect(rig.agent.exec(['tool'], { env })).rejects.toMatchObject({
      cause: { code: 'EACCES' },
    })
    chmodSync(script, 0o755)
    expect((await rig.agent.exec(['tool'], { env })).stdout).toBe('found\n')
  })

  it('sets the environment, the working directory and the user', async () => {
    const { stdout } = await rig.agent.exec(['/usr/bin/env'], {
      env: { A: 'b=c', HOME: undefined },
    })
    expect(stdout.split('\n').sort()).toEqual(['', 'A=b=c', expect.stringMatching(/^PATH=/)])
    expect((await sh('pwd', { cwd: '/usr' })).stdout).toBe('/usr\n')
    await expect(sh('pwd', { cwd: '/nowhere' })).rejects.toThrow('working directory')
    if (process.getuid?.() === 0) {
      expect((await sh('id -u; id -g; id -G', { uid: 12, gid: 34 })).stdout).toBe('12\n34\n34\n')
    }
  })

  it('gives a program its input, and takes it that it reads none of it', async () => {
    const bytes = Buffer.alloc(3_000_000, 'abcdefg')
    const { stdout } = await rig.agent.exec(['cat'], { stdin: bytes, maxBuffer: 2 ** 22 })
    expect(stdout === bytes.toString()).toBe(true)
    const pieces = Readable.from([Buffer.from('a'), Buffer.from('b')])
    expect((await rig.agent.exec(['cat'], { stdin: pieces })).stdout).toBe('ab')
    expect((await rig.agent.exec(['true'], { stdin: bytes })).exitCode).toBe(0)
    expect((await sh('exec <&-; sleep 0.1; echo done', { stdin: bytes })).stdout).toBe('done\n')
  })

  it('runs programs with signals and descriptors as they should be', async () => {
    expect((await sh('grep SigBlk /proc/self/status')).stdout).toMatch(/SigBlk:\s0+\n/)
    expect((await sh('ls /proc/self/fd')).stdout).toBe('0\n1\n2\n3\n')
    expect((await sh('cat /proc/$$/stat')).stdout).toMatch(/^(\d+) \(sh\) \S+ \d+ \1 \1 /)
  })

  it('ends at its time limit', async () => {
    const error = await sh('trap "" TERM; sleep 1000', { timeout: 200 }).catch((error) => error)
    expect(error).toMatchObject({ code: 'ERR_TIMEOUT', option: 'timeout', value: 200 })
  })

  it('ends by its signal, and kills all that was started', async () => {
    const abort = new AbortController()
    const stdout = new PassThrough()
    const run = sh('sleep 1000 & echo $!; wait', { signal: abort.signal, stdout })
    const [text] = (await once(stdout, 'data')) as [Buffer]
    const started = Number(text)
    expect(isAlive(started)).toBe(true)
    abort.abort(new Error('enough'))
    await expect(run).rejects.toThrow('enough')
    await expect.poll(() => isAlive(started)).toBe(false)
    await expect(sh('true', { signal: AbortSignal.abort('early') })).rejects.toBe('early')
  })

  it('collects no more than maxBuffer', async () => {
    await expect(rig.agent.exec(['yes'], { maxBuffer: 1000 })).rejects.toMatchObject({
      code: 'ERR_MAX_BUFFER',
      option: 'maxBuffer',
    })
    expect((await sh('head -c 1000 /dev/zero', { maxBuffer: 1000 })).stdout).toHaveLength(1000)
  })

  it('passes gigabytes on to a stream', async () => {
    let bytes = 0
    const stdout = new Writable({
      write(chunk: Buffer, _encoding, done) {
        bytes += chunk.length
        done()
      },
    })
    const { exitCode } = await sh('head -c 1G /dev/zero', { stdout })
    expect([exitCode, bytes, stdout.writableEnded]).toEqual([0, 2 ** 30, false])
  })

  it.each([
    [[], {}, 'argv'],
    ['ls', {}, 'argv'],
    [['a\0b'], {}, 'argv[0]'],
    [['a', 5], {}, 'argv[1]'],
    [['a'.repeat(300_000)], {}, 'argv'],
    [Array(9000).fill('a'), {}, 'argv'],
    [['ls'], { env: { 'a=b': 'c' } }, 'env'],
    [['ls'], { env: { a: 1 } }, 'env.a'],
    [['ls'], { cwd: 1 }, 'cwd'],
    [['ls'], { uid: -1 }, 'uid'],
    [['ls'], { gid: 2 ** 32 - 1 }, 'gid'],
    [['ls'], { tty: { rows: -1, columns: 1 } }, 'tty.rows'],
    [['ls'], { timeout: 0 }, 'timeout'],
    [['ls'], { timeout: NaN }, 'timeout'],
    [['ls'], { signal: {} }, 'signal'],
    [['ls'], { maxBuffer: -1 }, 'maxBuffer'],
    [['ls'], { encoding: 'klingon' }, 'encoding'],
    [['ls'], { stdin: 5 }, 'stdin'],
    [['ls'], { stdout: 'file' }, 'stdout'],
  ])('refuses %j %j', async (argv, options, option) => {
    await expect(rig.agent.exec(argv as string[], options as object)).rejects.toMatchObject({
      code: 'ERR_INVALID_OPTION',
      option,
    })
  })
})

describe('spawn', () => {
  it('talks with a program', async () => {
    await using cat = await rig.agent.spawn(['cat'])
    expect(cat.pid).toBeGreaterThan(0)
    cat.stdin.write('hello')
    const [chunk] = (await cat.stdout.take(1).toArray()) as Buffer[]
    expect(String(chunk)).toBe('hello')
    cat.kill('SIGINT')
    expect(await cat.exited).toEqual({ exitCode: null, signal: 'SIGINT' })
    expect(() => cat.kill('SIGNONE' as NodeJS.Signals)).toThrow('signal')
  })

  it('holds a program back whose output nobody reads', async () => {
    await using yes = await rig.agent.spawn(['yes'])
    const kept = () => yes.stdout.readableLength
    await expect.poll(kept).toBe(OUTPUT_WINDOW)
    // Nor does it hold others up.
    expect((await sh('echo other')).stdout).toBe('other\n')
    const before = yes.stdout.read() as Buffer
    expect(before).toHaveLength(OUTPUT_WINDOW)
    await expect.poll(kept).toBeGreaterThan(0)
    expect(kept()).toBeLessThanOrEqual(OUTPUT_WINDOW)
  })

  it('holds a writer back whose program does not read', async () => {
    await using sleeper = await rig.agent.spawn(['sleep', '1000'])
    let written = 0
    for (; sleeper.stdin.writableLength < 2 ** 20; written += 65536) {
      sleeper.stdin.write(Buffer.alloc(65536))
      await sleep(1)
    }
    // What went: the window, and a pipe's 64 KiB.
    expect(written - sleeper.stdin.writableLength).toBeLessThanOrEqual(4 * 65536)
  })

  it('says when the program has ended though another holds its output', async () => {
    await using shell = await rig.agent.spawn(['sh', '-c', 'sleep 1000 & exit 3'])
    expect(await shell.exited).toEqual({ exitCode: 3, signal: null })
    let closed = false
    void shell.closed.then(() => {
      closed = true
    })
    await sleep(100)
    expect(closed).toBe(false)
    shell.close()
    await shell.closed
  })

  it('gives a program a terminal', async () => {
    const script = 'test -t 0 && test -t 2 && stty size; read x; stty size; exec cat'
    await using shell = await rig.agent.spawn(['sh', '-c', script], {
      tty: { rows: 33, columns: 99 },
    })
    let text = ''
    shell.stdout.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk
    })
    const said = async (what: string) => {
      while (!text.includes(what)) await sleep(10)
    }
    await said('33 99\r\n')
    shell.resize(44, 88)
    shell.stdin.write('x\n')
    await said('44 88\r\n')
    shell.stdin.write('\x03')
    expect(await shell.closed).toEqual({ exitCode: null, signal: 'SIGINT' })
  })

  it('ends the input of a terminal as its user would', async () => {
    await using cat = await rig.agent.spawn(['cat'], { tty: { rows: 1, columns: 1 } })
    cat.stdout.resume()
    cat.stdin.end('line\n')
    expect(await cat.closed).toEqual({ exitCode: 0, signal: null })
  })

  it('refuses more at once than there is room for', async () => {
    const many = await Promise.all(
      Array.from({ length: SESSIONS_MAX }, () => rig.agent.spawn(['cat'])),
    )
    await expect(rig.agent.exec(['true'])).rejects.toMatchObject({
      code: 'ERR_AGENT',
      value: SESSIONS_MAX,
    })
    for (const process of many) process.close()
    await Promise.all(many.map(({ closed }) => closed))
    expect((await sh('echo again')).stdout).toBe('again\n')
  })
})

describe('files', () => {
  const path = (name: string) => join(rig.folder, name)

  it('are written and read', async () => {
    await rig.agent.writeFile(path('text'), 'hello', { mode: 0o640 })
    expect(statSync(path('text')).mode & 0o7777).toBe(0o640)
    expect(String(await rig.agent.readFile(path('text')))).toBe('hello')
    const bytes = Buffer.alloc(5_000_001, 'xyz')
    await rig.agent.writeFile(path('big'), Readable.from([bytes, Buffer.from('!')]))
    const read = await rig.agent.readFile(path('big'))
    expect(read.equals(Buffer.concat([bytes, Buffer.from('!')]))).toBe(true)
    await rig.agent.writeFile(path('empty'), '')
    expect(await rig.agent.readFile(path('empty'))).toHaveLength(0)
  })

  it('are copied in and out with their modes', async () => {
    writeFileSync(path('source'), 'content')
    chmodSync(path('source'), 0o4751)
    await rig.agent.copyIn(path('source'), path('inside'))
    expect(statSync(path('inside')).mode & 0o7777).toBe(0o751)
    chmodSync(path('inside'), 0o4555)
    await rig.agent.copyOut(path('inside'), path('outside'))
    expect(readFileSync(path('outside'), 'utf8')).toBe('content')
    expect(statSync(path('outside')).mode & 0o7777).toBe(0o555)
  })

  it('take the place of a symbolic link, not of what it points to', async () => {
    writeFileSync(path('target'), 'old')
    symlinkSync(path('target'), path('link'))
    await rig.agent.writeFile(path('link'), 'new')
    expect(readFileSync(path('target'), 'utf8')).toBe('old')
  })

  it('are refused by name of what is wrong', async () => {
    const { agent } = rig
    await expect(agent.readFile(path('none'))).rejects.toMatchObject({
      code: 'ERR_GUEST_FILE',
      cause: { code: 'ENOENT' },
    })
    await expect(agent.readFile('/')).rejects.toMatchObject({ cause: { code: 'EISDIR' } })
    await sh(`mkfifo ${path('fifo')}`)
    await expect(agent.readFile(path('fifo'))).rejects.toMatchObject({ cause: { code: 'EINVAL' } })
    await expect(agent.writeFile('/nowhere/file', 'x')).rejects.toMatchObject({
      cause: { code: 'ENOENT' },
    })
    await expect(agent.writeFile(rig.folder, 'x')).rejects.toMatchObject({
      code: 'ERR_GUEST_FILE',
    })
    expect(await codeOf(agent.readFile('/dev/zero'))).toBe('ERR_GUEST_FILE')
    expect(await codeOf(agent.readFile(''))).toBe('ERR_INVALID_OPTION')
    expect(await codeOf(agent.readFile('a\0b'))).toBe('ERR_INVALID_OPTION')
    expect(await codeOf(agent.writeFile('/x', '', { mode: 8 ** 5 }))).toBe('ERR_INVALID_OPTION')
    expect(await codeOf(agent.copyIn(path('none'), '/x'))).toBe('ENOENT')
    expect(await codeOf(agent.copyOut(path('text'), '/nowhere/x'))).toBe('ENOENT')
  })

  it('are left as they were if writing is given up', async () => {
    writeFileSync(path('kept'), 'old')
    const source = new PassThrough()
    source.write('new')
    const abort = new AbortController()
    const writing = rig.agent.writeFile(path('kept'), source, { signal: abort.signal })
    setTimeout(() => abort.abort(new Error('enough')), 200)
    await expect(writing).rejects.toThrow('enough')
    const failing = Readable.from(
      (function* () {
        yield Buffer.from('new')
        throw new Error('source')
      })(),
    )
    await expect(rig.agent.writeFile(path('kept'), failing)).rejects.toThrow('source')
    await rig.agent.ping()
    expect(readFileSync(path('kept'), 'utf8')).toBe('old')
    expect(readdirSync(rig.folder).filter((name) => name.includes('node-kvm'))).toEqual([])
  })

  it('are read to a bound', async () => {
    await rig.agent.writeFile(path('long'), Buffer.alloc(1001))
    expect(await codeOf(rig.agent.readFile(path('long'), { maxBytes: 1000 }))).toBe(
      'ERR_MAX_BUFFER',
    )
    expect(await rig.agent.readFile(path('long'), { maxBytes: 1001 })).toHaveLength(1001)
  })
})

it('an agent that goes takes everything with it', async () => {
  const other = await AgentRig.start()
  try {
    const cat = await other.agent.spawn(['cat'])
    const run = other.agent.exec(['sleep', '1000'])
    const reading = codeOf(run)
    await sleep(50)
    other.child.kill('SIGKILL')
    expect(await reading).toBe('ERR_AGENT')
    expect(await codeOf(cat.exited)).toBe('ERR_AGENT')
    expect(cat.stdout.destroyed).toBe(true)
    expect(other.agent.connected).toBe(false)
  } finally {
    await other[Symbol.asyncDispose]()
  }
})

it('an agent whose host goes kills what it runs, and ends', async () => {
  const other = await AgentRig.start()
  const { pid } = await other.agent.spawn(['sleep', '1000'])
  expect(isAlive(pid)).toBe(true)
  other.socket.destroy()
  expect(await other.ended).toBe(0)
  await expect.poll(() => isAlive(pid)).toBe(false)
  await other[Symbol.asyncDispose]()
})
