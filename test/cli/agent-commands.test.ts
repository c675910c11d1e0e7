import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SupervisorServer } from '../../lib/cli/supervisor/server.js'
import type { VirtualMachine } from '../../lib/index.js'
import { AgentRig } from '../agent/agent-rig.js'
import { CLI } from '../helpers/cli.js'
import { sparseFile } from '../helpers/sparse-file.js'
import { temporaryFolder } from '../helpers/temporary-folder.js'

// The command, the socket and the agent are the real ones; of the machine there is what they need, and its files are
// this one's. test/guest/cli-exec.test.ts has a guest.

const folder = temporaryFolder('agent-commands')
const path = folder.path
const runtime = process.env.XDG_RUNTIME_DIR
let rig: AgentRig
let server: SupervisorServer
beforeAll(async () => {
  rig = await AgentRig.start()
  mkdirSync(path('run'), { mode: 0o700 })
  process.env.XDG_RUNTIME_DIR = path('run')
  const { agent } = rig
  const machine = {
    agent,
    spawn: agent.spawn.bind(agent),
    copyIn: agent.copyIn.bind(agent),
    copyOut: agent.copyOut.bind(agent),
  }
  server = await SupervisorServer.open(machine as unknown as VirtualMachine, 'lab')
})
afterAll(async () => {
  server.close()
  if (runtime === undefined) delete process.env.XDG_RUNTIME_DIR
  else process.env.XDG_RUNTIME_DIR = runtime
  await rig[Symbol.asyncDispose]()
  folder[Symbol.dispose]()
})

function nodeKvm(...args: string[]) {
  return new Promise<{ status: unknown; stdout: string; stderr: string }>((resolve) => {
    const child = execFile(process.execPath, [CLI, ...args], (error, stdout, stderr) =>
      resolve({ status: error ? error.code : 0, stdout, stderr }),
    )
    child.stdin!.end('in')
  })
}

describe('node-kvm cp', () => {
  it('copies files and folders, in either direction', async () => {
    mkdirSync(path('tree/sub'), { recursive: true })
    writeFileSync(path('tree/sub/file'), 'content', { mode: 0o750 })
    symlinkSync('sub/file', path('tree/link'))
    const quiet = { status: 0, stdout: '', stderr: '' }
    expect(await nodeKvm('cp', path('tree'), `lab:${path('in')}`)).toEqual(quiet)
    expect(readlinkSync(path('in/link'))).toBe('sub/file')
    expect(lstatSync(path('in/sub/file')).mode & 0o777).toBe(0o750)
    const out = await nodeKvm('cp', '--json', `lab:${path('in')}`, path('out'))
    expect(JSON.parse(out.stdout)).toEqual({ files: 1, folders: 2, links: 1, skipped: 0, bytes: 7 })
    expect(readFileSync(path('out/link'), 'utf8')).toBe('content')
    expect(await nodeKvm('cp', `lab:${path('in/sub/file')}`, path('single'))).toEqual(quiet)
    expect(readFileSync(path('single'), 'utf8')).toBe('content')
  })

  it('puts it into a folder that is there', async () => {
    writeFileSync(path('f'), 'x')
    mkdirSync(path('d'))
    mkdirSync(path('e'))
    await nodeKvm('cp', path('f'), `lab:${path('d')}`)
    await nodeKvm('cp', `lab:${path('d')}`, path('e'))
    expect(readFileSync(path('e/d/f'), 'utf8')).toBe('x')
  })

  it.each([
    [['lab:/nowhere', 'x'], 1, /^node-kvm: lab: .*ENOENT/],
    [['/nowhere', 'lab:/x'], 1, /^node-kvm: lab: ENOENT/],
    [['lab:/dev/zero', 'x'], 1, /^node-kvm: lab: .*EINVAL/],
    [['nobody:/x', 'x'], 1, /no machine called nobody/],
    [['x', 'y'], 2, /one NAME:PATH/],
  ])('%j is refused', async (paths, status, message) => {
    const copied = await nodeKvm('cp', ...paths)
    expect([copied.status, copied.stdout]).toEqual([status, ''])
    expect(copied.stderr).toMatch(message)
    expect(existsSync('x')).toBe(false)
  })

  it('leaves nothing behind when it is interrupted', async () => {
    mkdirSync(path('many'))
    // Far from through when it is seen that it has begun.
    sparseFile(path('many/large'), 2 ** 33)
    const child = spawn(process.execPath, [CLI, 'cp', `lab:${path('many')}`, path('part')])
    await expect
      .poll(() => readdirSync(path()).some((name) => name.startsWith('part.')), {
        interval: 5,
      })
      .toBe(true)
    child.kill('SIGINT')
    expect(await once(child, 'exit')).toEqual([null, 'SIGINT'])
    await expect
      .poll(() => readdirSync(path()).filter((name) => name.startsWith('part')))
      .toEqual([])
  })
})

describe('node-kvm exec', () => {
  it('passes streams and the status through', async () => {
    const script = 'cat; echo " $NAME"; echo err >&2; exit 3'
    const run = await nodeKvm('exec', '-e', 'NAME=value', 'lab', '--', 'sh', '-c', script)
    expect(run).toEqual({ status: 3, stdout: 'in value\n', stderr: 'err\n' })
  })

  it('prints what came of it as JSON', async () => {
    const run = await nodeKvm('exec', '--json', 'lab', '--', 'sh', '-c', 'cat; echo e >&2; exit 3')
    expect([run.status, run.stderr]).toEqual([3, ''])
    const ended = { stdout: 'in', stderr: 'e\n', exitCode: 3, signal: null }
    expect(JSON.parse(run.stdout)).toEqual(ended)
    const killed = await nodeKvm('exec', '--json', 'lab', '--', 'sh', '-c', 'kill -9 $$')
    expect(killed.status).toBe(137)
    expect(JSON.parse(killed.stdout)).toMatchObject({ exitCode: null, signal: 'SIGKILL' })
  })

  it('keeps no more of a flood than JSON is for', async () => {
    const { status, stdout, stderr } = await nodeKvm('exec', '--json', 'lab', '--', 'yes')
    expect([status, stdout]).toEqual([1, ''])
    expect(stderr).toMatch(/^node-kvm: stdout: more than 16777216 bytes/)
  })

  it('gives its signals to the program', async () => {
    const script = 'trap "exit 42" TERM; echo ready; while :; do sleep 0.1; done'
    const child = spawn(process.execPath, [CLI, 'exec', 'lab', '--', 'sh', '-c', script])
    await once(child.stdout, 'data')
    child.kill('SIGTERM')
    expect(await once(child, 'exit')).toEqual([42, null])
  })
})
