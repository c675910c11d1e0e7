import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { describe, expect, it } from 'vitest'
import { VirtualMachine } from '../../lib/index.js'
import { collect, guestMemories, openFds, threads } from '../helpers/process-state.js'
import { tinyMachines } from './machines.js'
import * as guest from './tiny-guest.js'

const create = tinyMachines()

const METHODS = ['start', 'pause', 'resume'] as const
type Step = 'start' | 'pause' | 'resume' | 'stop' | 'close'

describe.each<[state: string, steps: Step[], allowed: string[]]>([
  ['created', [], ['start']],
  ['running', ['start'], ['pause']],
  ['paused', ['start', 'pause'], ['resume']],
  ['running', ['start', 'pause', 'resume'], ['pause']],
  ['stopped', ['start', 'stop'], []],
  ['stopped', ['start', 'pause', 'stop'], []],
  ['stopped', ['stop'], []],
  ['closed', ['start', 'close'], []],
  ['closed', ['start', 'pause', 'close'], []],
])('a machine that is %s', (state, steps, allowed) => {
  it.each(METHODS)(`after ${steps.join(', ') || 'nothing'}, by %s()`, async (method) => {
    const vm = await create([guest.spin])
    for (const step of steps) await vm[step]()
    expect(vm.state).toBe(state)
    if (allowed.includes(method)) {
      await vm[method]()
    } else {
      await expect(vm[method]()).rejects.toMatchObject({
        code: state === 'closed' ? 'ERR_CLOSED' : 'ERR_STATE',
        value: state,
        message: expect.stringContaining(`${method}()`),
      })
      expect(vm.state).toBe(state)
    }
  })
})

describe('pause and resume', () => {
  const COUNTER = 0x80_0000
  const counter = (vm: VirtualMachine) => {
    const bytes = vm.memory.read(COUNTER, 8)
    return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true)
  }

  it('stop the guest where it is, and let it go on', async () => {
    const vm = await create([guest.count(COUNTER)])
    await vm.start()
    for (let i = 0; i < 20; i++) {
      while (counter(vm) === 0n) await new Promise(setImmediate)
      await vm.pause()
      const paused = counter(vm)
      for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
      expect(counter(vm)).toBe(paused)
      await vm.resume()
      while (counter(vm) === paused) await new Promise(setImmediate)
    }
  })

  it('may be asked for without waiting', async () => {
    const vm = await create([guest.count(COUNTER)])
    await vm.start()
    for (let i = 0; i < 20; i++) await Promise.all([vm.pause(), vm.resume()])
    const before = counter(vm)
    while (counter(vm) === before) await new Promise(setImmediate)
    void vm.pause()
    await vm.close()
  })
})

describe('close', () => {
  it('may be called twice and at once', async () => {
    const vm = await create([guest.spin])
    await vm.start()
    await Promise.all([vm.close(), vm.close(), vm.stop()])
    await vm.close()
    expect(vm.state).toBe('closed')
    expect(() => vm.memory.read(0, 1)).toThrow(expect.objectContaining({ code: 'ERR_CLOSED' }))
  })

  it('comes with the end of a block', async () => {
    let vm: VirtualMachine
    {
      await using scoped = await create([guest.spin])
      await scoped.start()
      vm = scoped
    }
    expect(vm.state).toBe('closed')
    expect(await vm.stopped).toEqual({ kind: 'killed' })
  })

  it.each(['stopped', 'closed'])('gives memory back if a listener throws at %s', async (state) => {
    // Not closed again after the test, which would throw again.
    const vm = await VirtualMachine.create({ kernel: guest.kernel(guest.spin), memory: '32M' })
    const throwing = (now: string) => {
      if (now === state) throw new Error('from the listener')
    }
    vm.on('state', throwing)
    await vm.start()
    await expect(vm.close()).rejects.toThrow('from the listener')
    expect(vm.state).toBe('closed')
    expect(await vm.stopped).toEqual({ kind: 'killed' })
    expect(() => vm.memory.read(0, 1)).toThrow(expect.objectContaining({ code: 'ERR_CLOSED' }))
  })

  it('leaves nothing behind, fifty times over', async () => {
    const state = () => [openFds(), threads(), guestMemories()]
    await collect(() => guestMemories() === 0)
    const before = state()
    const cycle = async (i: number) => {
      const kernel = guest.kernel(guest.spin)
      const vm = await VirtualMachine.create({ kernel, memory: '32M', cpus: 1 + (i % 2) })
      if (i % 3 > 0) await vm.start()
      if (i % 3 > 1) await vm.pause()
      await vm.close()
    }
    for (let i = 0; i < 50; i++) await cycle(i)
    expect(state()).toEqual(before)
  })
})

describe('a Worker', () => {
  it('that is terminated takes its running machine with it', async () => {
    await collect(() => guestMemories() === 0)
    const before = [threads(), guestMemories()]
    const library = new URL('../../dist/lib/index.js', import.meta.url).href
    const script = `
      import { parentPort, workerData } from 'node:worker_threads'
      import { VirtualMachine } from ${JSON.stringify(library)}
      const vm = await VirtualMachine.create({ kernel: workerData, memory: '32M' })
      await vm.start()
      parentPort.postMessage(vm.state)`
    const url = new URL(`data:text/javascript,${encodeURIComponent(script)}`)
    const worker = new Worker(url, { workerData: guest.kernel(guest.spin) })
    const [message] = await once(worker, 'message')
    expect(message).toBe('running')
    expect(guestMemories()).toBeGreaterThan(before[1]!)
    await worker.terminate()
    await expect.poll(() => [threads(), guestMemories()]).toEqual(before)
  })
})
