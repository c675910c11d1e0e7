import { existsSync, readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { CopyOutOptions, ExecOptions } from '../../lib/index.js'
import { AgentRig, codeOf } from './agent-rig.js'

let rig: AgentRig
beforeAll(async () => {
  rig = await AgentRig.start()
})
afterAll(() => rig[Symbol.asyncDispose]())
const path = (name: string) => `${rig.folder}/${name}`

/** Options whose values are good the first time that they are read, and never again. */
function fickle<T extends object>(good: T): T {
  const read = new Set<PropertyKey>()
  const options = {}
  for (const [name, value] of Object.entries(good)) {
    Object.defineProperty(options, name, {
      enumerable: true,
      get: () => {
        if (read.has(name)) return { toString: () => 'not any more' }
        read.add(name)
        return value
      },
    })
  }
  return options as T
}

it('options are read once', async () => {
  const { agent } = rig
  const signal = new AbortController().signal
  const limits = { timeout: 20_000, signal }
  const exec: ExecOptions = {
    ...limits,
    ...{ env: { NAME: 'value' }, cwd: rig.folder, stdin: 'in', maxBuffer: 100, encoding: 'latin1' },
  }
  const { stdout } = await agent.exec(['sh', '-c', 'cat; echo $NAME'], fickle(exec))
  expect(stdout).toBe('invalue\n')
  await using program = await agent.spawn(['true'], fickle({ ...limits, cwd: '/' }))
  expect(await program.closed).toEqual({ exitCode: 0, signal: null })
  await agent.writeFile(path('a'), 'text', fickle({ ...limits, mode: 0o600 }))
  expect(String(await agent.readFile(path('a'), fickle({ ...limits, maxBytes: 4 })))).toBe('text')
  const copy: CopyOutOptions = { ...limits, maxBytes: 4, maxEntries: 10, recursive: true }
  await agent.copyOut(path('a'), path('b'), fickle<CopyOutOptions>({ ...copy, links: 'skip' }))
  await agent.copyIn(path('b'), path('c'), fickle(copy))
  expect(readFileSync(path('c'), 'utf8')).toBe('text')
})

it.each(['__proto__', 'constructor', 'toString'])('%s is a name like any other', async (name) => {
  const { agent } = rig
  const env = JSON.parse(`{"${name}": "value"}`) as Record<string, string>
  expect((await agent.exec(['env'], { env })).stdout).toContain(`${name}=value\n`)
  await agent.writeFile(path(name), 'x')
  await agent.copyOut(path(name), path(`${name}-out`))
  expect(existsSync(path(`${name}-out`))).toBe(true)
  const polluted = JSON.parse('{"__proto__": {"maxBuffer": 0, "timeout": 1}}') as ExecOptions
  expect((await agent.exec(['echo', 'x'], polluted)).stdout).toBe('x\n')
  expect(({} as ExecOptions).timeout).toBeUndefined()
})

it.each([
  [{ timeout: 0 }, 'timeout'],
  [{ timeout: '5' }, 'timeout'],
  [{ signal: {} }, 'signal'],
  [{ env: 5 }, 'env'],
  [{ env: { a: 5 } }, 'env.a'],
  [{ cwd: 5 }, 'cwd'],
  [{ uid: -1 }, 'uid'],
  [{ stdin: 5 }, 'stdin'],
  [{ stdout: {} }, 'stdout'],
])('exec with %o is refused by name', async (options, option) => {
  await expect(rig.agent.exec(['true'], options as ExecOptions)).rejects.toMatchObject({
    code: 'ERR_INVALID_OPTION',
    option,
  })
  expect(await codeOf(rig.agent.exec([], {}))).toBe('ERR_INVALID_OPTION')
})

it('gets over what a getter throws', async () => {
  const options = {
    get timeout(): number {
      throw new Error('from the getter')
    },
  }
  await expect(rig.agent.exec(['true'], options)).rejects.toThrow('from the getter')
  expect((await rig.agent.exec(['echo', 'on'])).stdout).toBe('on\n')
})
