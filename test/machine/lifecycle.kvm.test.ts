import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { describe, expect, it } from 'vitest'
import { collect, guestMemories, openFds, PATIENCE } from '../helpers/process-state.js'
import { temporaryFolder } from '../helpers/temporary-folder.js'
import { tinyMachines } from './machines.js'
import * as guest from './tiny-guest.js'

const LIBRARY = new URL('../../dist/lib/index.js', import.meta.url).href
const create = tinyMachines()

describe("a guest's panic", () => {
  const panic = guest.print('Kernel panic - not syncing: no init\r\n')

  it.each([
    ['reboots', guest.resetByChipset],
    ['crashes', guest.tripleFault],
  ])('is why it ended, if it then %s', async (_, end) => {
    const vm = await create([panic, end])
    await vm.start()
    expect(await vm.stopped).toEqual({ kind: 'panicked', message: 'no init' })
  })

  it('is told of by the event too, and not mixed up with powering off', async () => {
    const vm = await create([panic, guest.powerOff])
    const stopped = once(vm, 'stopped')
    await vm.start()
    expect(await stopped).toEqual([{ kind: 'shutdown' }])
  })
})

describe('a signal', () => {
  it('gives up creating a machine, and leaves nothing behind', async () => {
    await collect(() => guestMemories() === 0)
    const before = [openFds(), guestMemories()]
    const abort = new AbortController()
    const creating = create([guest.spin], { signal: abort.signal })
    abort.abort(new Error('changed my mind'))
    await expect(creating).rejects.toThrow('changed my mind')
    await expect(create([guest.spin], { signal: abort.signal })).rejects.toThrow('changed my mind')
    expect([openFds(), guestMemories()]).toEqual(before)
  })

  it.each(['create', 'start'])('given to %s ends the machine', async (where) => {
    const abort = new AbortController()
    const { signal } = abort
    const vm = await create([guest.spin], where === 'create' ? { signal } : {})
    await vm.start(where === 'start' ? { signal } : {})
    abort.abort()
    expect(await vm.stopped).toEqual({ kind: 'killed' })
  })

  it('that is aborted starts nothing', async () => {
    const vm = await create([guest.spin])
    await expect(vm.start({ signal: AbortSignal.abort() })).rejects.toThrow('aborted')
    expect(vm.state).toBe('created')
  })

  it('gives up waiting, and the machine goes on', async () => {
    const vm = await create([guest.spin])
    await vm.start()
    const abort = new AbortController()
    const waiting = [vm.wait({ signal: abort.signal }), vm.shutdown({ signal: abort.signal })]
    abort.abort(new Error('enough'))
    for (const wait of waiting) await expect(wait).rejects.toThrow('enough')
    expect(vm.state).toBe('running')
  })
})

describe('wait', () => {
  it('gives the reason', async () => {
    const vm = await create([guest.powerOff])
    await vm.start()
    expect(await vm.wait({ timeout: PATIENCE })).toEqual({ kind: 'shutdown' })
  })

  it('has a limit', async () => {
    const vm = await create([guest.spin])
    await vm.start()
    await expect(vm.wait({ timeout: 1 })).rejects.toMatchObject({ code: 'ERR_TIMEOUT', value: 1 })
    expect(vm.state).toBe('running')
  })

  it.each([{ timeout: 0 }, { timeout: '1' }, { signal: 1 }, { nonsense: 1 }, null, 5])(
    'refuses %j',
    async (limits) => {
      const vm = await create([guest.spin])
      await expect(vm.wait(limits as never)).rejects.toMatchObject({ code: 'ERR_INVALID_OPTION' })
      await expect(vm.start(limits as never)).rejects.toMatchObject({ code: 'ERR_INVALID_OPTION' })
    },
  )
})

describe('the process', () => {
  /** Runs a program with the machine `vm`, of a guest that spins, and gives its exit status. */
  async function run(program: string, ...args: string[]): Promise<unknown> {
    using folder = temporaryFolder('lifecycle')
    const kernel = folder.path('kernel')
    const disk = folder.path('disk')
    writeFileSync(kernel, guest.kernel(guest.spin))
    writeFileSync(disk, new Uint8Array(4096))
    const script = `
      import { FileDisk, VirtualMachine, VirtualSwitch } from ${JSON.stringify(LIBRARY)}
      const [kernel, disk] = process.argv.slice(1)
      const nets = [new VirtualSwitch().port()]
      const vm = await VirtualMachine.create({ kernel, memory: '32M', disks: [new FileDisk(disk)],
        nets, rng: true, balloon: {}, virtioConsole: {}, vsock: {} })
      ${program}`
    const node = ['--input-type=module', '-e', script, kernel, disk, ...args]
    const child = spawn(process.execPath, node, { stdio: 'inherit' })
    const timer = setTimeout(() => child.kill('SIGKILL'), PATIENCE)
    const [status, signal] = await once(child, 'exit')
    clearTimeout(timer)
    return signal ?? status
  }

  it('ends with nothing to do but a machine that was unref()ed', async () => {
    expect(await run('await vm.start(); vm.unref()')).toBe(0)
  })

  it.each(['created', 'paused', 'stopped', 'closed'])(
    'is not kept alive by a machine that is %s',
    async (state) => {
      const steps: Record<string, string> = {
        created: '',
        paused: 'await vm.start(); await vm.pause()',
        stopped: 'await vm.start(); await vm.stop()',
        closed: 'await vm.start(); await vm.close()',
      }
      expect(await run(steps[state]!)).toBe(0)
    },
  )

  it('is kept alive by one that runs, also after ref()', async () => {
    const stop = "setTimeout(() => process.exit(7), 200).unref(); process.on('exit', () => {})"
    expect(await run(`await vm.start(); vm.unref(); vm.ref(); ${stop}`)).toBe(7)
  })
})

it('a machine runs in a Worker, from its first instruction to its end', async () => {
  const script = `
    import { parentPort, workerData } from 'node:worker_threads'
    import { VirtualMachine } from ${JSON.stringify(LIBRARY)}
    const vm = await VirtualMachine.create({ kernel: workerData, memory: '32M' })
    let said = ''
    vm.console.output.on('data', (text) => { said += text })
    await vm.start()
    const reason = await vm.stopped
    await vm.close()
    parentPort.postMessage({ said, reason })`
  const url = new URL(`data:text/javascript,${encodeURIComponent(script)}`)
  const kernels = ['one', 'two'].map((text) => guest.kernel(guest.print(text), guest.powerOff))
  const messages = await Promise.all(
    kernels.map(async (workerData) => {
      const worker = new Worker(url, { workerData })
      // Both may come in one turn.
      const exit = once(worker, 'exit')
      const [message] = await once(worker, 'message')
      await exit
      return message
    }),
  )
  expect(messages).toEqual([
    { said: 'one', reason: { kind: 'shutdown' } },
    { said: 'two', reason: { kind: 'shutdown' } },
  ])
})
