import { once } from 'node:events'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { Duplex } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { sendingGuest } from '../../bench/lib/ring-guest.js'
import type { BlockBackend } from '../../lib/backends/block/block-backend.js'
import {
  CustomDisk,
  FaultyDisk,
  FileDisk,
  MemoryDisk,
  OverlayDisk,
  StreamNet,
  Tap,
  VirtualMachine,
  type VirtualMachineOptions,
  VirtualSwitch,
} from '../../lib/index.js'
import { IsolatedEngine } from '../../lib/machine/isolated/isolated-engine.js'
import { MachineProcess } from '../../lib/machine/isolated/machine-process.js'
import { parseConfig } from '../../lib/machine/machine-config.js'
import type { StopReason } from '../../lib/machine/stop-reason.js'
import { Cleanup } from '../../lib/util/cleanup.js'
import { isAlive, sanitized } from '../helpers/process-state.js'
import { noTapReason, TapInterface } from '../helpers/tap-interface.js'
import { temporaryFolder } from '../helpers/temporary-folder.js'
import { MEMORY } from '../hostile/script-guest.js'
import { Witness } from '../hostile/witness.js'
import { Child, compileProgram } from '../load/child.js'
import { tinyMachines } from '../machine/machines.js'
import * as guest from '../machine/tiny-guest.js'

const create = tinyMachines({ isolation: 'process' })
const program = (name: string) => fileURLToPath(new URL(`programs/${name}.mjs`, import.meta.url))

async function output(vm: VirtualMachine): Promise<string> {
  let said = ''
  for await (const chunk of vm.console.output) said += (chunk as Buffer).toString('latin1')
  return said
}

/** Where the addon has come from that a process has loaded. */
function addonOf(pid: number): string | undefined {
  return /\S+\/node_kvm\.node$/m.exec(readFileSync(`/proc/${pid}/maps`, 'utf8'))?.[0]
}

describe('an isolated machine', () => {
  it('has the same addon as this process, with whatever it was built with', async () => {
    const vm = await create([guest.spin])
    expect(addonOf(vm.pid!)).toBeDefined()
    expect(addonOf(vm.pid!)).toBe(addonOf(process.pid))
  })

  it('has memory that comes and goes, as far as its guest does it', async () => {
    const vm = await create([guest.spin], { virtioMem: { maxSize: '1G', size: '2M' } })
    const mem = vm.virtioMem!
    expect(mem).toMatchObject({ maxSize: 2 ** 30, blockSize: 2 ** 21, requested: 2 ** 21 })
    const invalid = { code: 'ERR_INVALID_OPTION', option: 'size' }
    await expect(mem.resize('3M')).rejects.toMatchObject(invalid)
    await vm.start()
    await mem.resize(0)
    expect([mem.requested, mem.plugged]).toEqual([0, 0])
    const late = { code: 'ERR_TIMEOUT', option: 'timeout' }
    await expect(mem.resize('4M', { timeout: 5 })).rejects.toMatchObject(late)
    const ended = expect(mem.resize('8M')).rejects.toMatchObject({ code: 'ERR_STATE' })
    await vm.stop()
    await ended
    expect(mem.counters).toMatchObject({ acknowledged: 0, refused: 0 })
  })

  it('runs its guest in another process, to its end', async () => {
    const vm = await create([guest.print('hello\n'), guest.powerOff])
    expect(vm.pid).not.toBe(process.pid)
    expect(isAlive(vm.pid)).toBe(true)
    const said = output(vm)
    await vm.start()
    expect(await vm.stopped).toEqual({ kind: 'shutdown' })
    expect(vm.stats().vcpus[0]!.exits).toBeGreaterThan(0)
    expect(await said).toBe('hello\n')
    await vm.close()
    expect(isAlive(vm.pid)).toBe(false)
  })

  it('reads what is written to its console', async () => {
    const vm = await create([guest.echoLine])
    const said = output(vm)
    await vm.start()
    await new Promise((resolve) => vm.console.input.write('typed\n', resolve))
    expect(await vm.stopped).toEqual({ kind: 'shutdown' })
    expect(await said).toBe('typed\n')
  })

  it('pauses, goes on, and starts anew', async () => {
    const vm = await create([guest.print('.'), guest.halt])
    const resets: string[] = []
    vm.on('reset', () => resets.push(vm.state))
    let said = ''
    vm.console.output.on('data', (chunk: Buffer) => {
      said += chunk
    })
    await vm.start()
    await expect.poll(() => said).toBe('.')
    await vm.pause()
    expect(vm.state).toBe('paused')
    await vm.resume()
    await vm.reset()
    await expect.poll(() => said).toBe('..')
    expect(resets).toEqual(['running'])
    await vm.stop()
    expect(await vm.stopped).toEqual({ kind: 'killed' })
  })

  it('is told by the same errors what is wrong', async () => {
    await expect(create([], { kernel: '/nothing' })).rejects.toMatchObject({
      ...{ code: 'ERR_KERNEL_IMAGE', option: 'kernel', value: '/nothing' },
    })
    await expect(create([], { disks: [new FileDisk('/nothing')] })).rejects.toMatchObject({
      ...{ code: 'ERR_DISK', option: 'disks[0].path' },
    })
    const device = { name: 'own', read: () => 0, write() {} }
    await expect(create([], { attach: [{ device, port: 0x10, size: 1 }] })).rejects.toMatchObject({
      ...{ code: 'ERR_INVALID_OPTION', option: 'attach' },
    })
    const vm = await create([guest.halt])
    expect(() => vm.memory).toThrow(
      expect.objectContaining({ code: 'ERR_STATE', option: 'memory.kind' }),
    )
    await expect(vm.resume()).rejects.toMatchObject({ code: 'ERR_STATE' })
  })

  it('gives up when it is aborted, before it is there and after', async () => {
    const given = new AbortController()
    const creating = create([guest.halt], { signal: given.signal })
    setTimeout(() => given.abort(new Error('enough')), 20)
    await expect(creating).rejects.toThrow('enough')
    const later = new AbortController()
    const vm = await create([guest.halt], { signal: later.signal })
    await vm.start()
    later.abort()
    expect(await vm.stopped).toEqual({ kind: 'killed' })
  })

  it('ends with its process, whatever ends that, and its program goes on', async () => {
    const witness = await create([guest.echoLine])
    const vm = await create([guest.halt], { vsock: {} })
    await witness.start()
    await vm.start()
    const unread = new Promise((resolve) => vm.console.input.write('nobody reads', resolve))
    const connection = vm.vsock!.connect(1)
    connection.write('nobody listens')
    process.kill(vm.pid, 'SIGKILL')
    const reason = await vm.stopped
    expect(reason).toMatchObject({ kind: 'error', error: { code: 'ERR_ISOLATION' } })
    expect((reason as { error: Error }).error.message).toContain('SIGKILL')
    expect(vm.state).toBe('stopped')
    expect(await unread).toMatchObject({ code: 'ERR_ISOLATION' })
    await expect.poll(() => connection.closed).toBe(true)
    await vm.close()
    witness.console.input.write('\n')
    expect(await witness.stopped).toEqual({ kind: 'shutdown' })
  })

  it('ends with its program', async () => {
    const child = new Child(await compileProgram('isolated'))
    await child.says('pid ')
    const pid = Number(/pid (\d+)/.exec(child.stdout)![1])
    expect(isAlive(pid)).toBe(true)
    child.process.kill('SIGKILL')
    await child.ended()
    await expect.poll(() => isAlive(pid)).toBe(false)
  })

  it('leaves nothing behind', async () => {
    const descriptors = () => readdirSync('/proc/self/fd').length
    const before = descriptors()
    for (let i = 0; i < 3; i++) {
      const vm = await create([guest.powerOff], { disks: [new MemoryDisk(4096)] })
      await vm.start()
      await vm.stopped
      await vm.close()
      expect(isAlive(vm.pid)).toBe(false)
    }
    await expect.poll(descriptors).toBe(before)
  })
})

describe("a machine's process", () => {
  it('can do nothing of what is forbidden', async () => {
    using folder = temporaryFolder('isolated')
    const secret = folder.path('secret')
    writeFileSync(secret, 'secret')
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    const jailed = new MachineProcess({ read: [], write: [] }, [], program('forbidden'))
    const { connection } = jailed
    let said = ''
    connection.setEncoding('utf8').on('data', (text: string) => {
      said += text
    })
    connection.write(JSON.stringify({ secret, folder: folder.path(), port, parent: process.pid }))
    const how = await jailed.ended
    server.close()
    expect(how).toBe('ended with status 0')
    const outcomes = Object.entries(JSON.parse(said) as Record<string, string>)
    expect(outcomes.length).toBeGreaterThan(10)
    expect(outcomes.filter(([, outcome]) => outcome === 'DONE')).toEqual([])
    expect(readFileSync(secret, 'utf8')).toBe('secret')
  })
})

/** A machine whose process does something else. */
async function taken(attack: string) {
  const cleanup = new Cleanup()
  const config = parseConfig({ kernel: guest.kernel(), name: attack } as VirtualMachineOptions)
  const warnings: unknown[] = []
  let onEnd!: (reason: StopReason) => void
  const ended = new Promise<StopReason>((resolve) => {
    onEnd = resolve
  })
  const engine = await IsolatedEngine.create(
    config,
    cleanup,
    {
      ...{ onEnd, restart: async () => {}, onReset() {} },
      onWarning: (warning) => warnings.push(warning),
    },
    program('hostile'),
  )
  engine.run()
  return { engine, ended, warnings, close: () => cleanup.run() }
}

describe('a process that a guest has taken over', () => {
  it.each([
    'garbage',
    'a long frame',
    'a message that is none',
    'a state that is none',
    'a state of many devices',
    'a state with names of any length',
    'a reason that is none',
    'a warning that is none',
    'streams that nobody takes',
    'requests to disks that are not there',
    'a sudden end',
  ])('by %s ends its machine, and nothing else', async (attack) => {
    const { engine, ended, close } = await taken(attack)
    expect(await ended).toMatchObject({ kind: 'error', error: { code: 'ERR_ISOLATION' } })
    await close()
    expect(isAlive(engine.pid)).toBe(false)
  })

  it.each(['output without end', 'warnings without end', 'states without end'])(
    'by %s neither fills its program nor keeps it from its work',
    async (attack) => {
      const { engine, warnings, close } = await taken(attack)
      globalThis.gc?.()
      const before = process.memoryUsage().rss
      const start = performance.now()
      let turns = 0
      const counting = setInterval(() => turns++, 5)
      await new Promise((resolve) => setTimeout(resolve, 1000))
      await expect.poll(() => turns).toBeGreaterThan(50)
      clearInterval(counting)
      globalThis.gc?.()
      // A hundred a second, however long all of it has taken.
      const seconds = (performance.now() - start) / 1000
      expect(warnings.length).toBeLessThanOrEqual(100 * (seconds + 2))
      // AddressSanitizer keeps what is freed.
      if (!sanitized) expect(process.memoryUsage().rss - before).toBeLessThan(64 * 2 ** 20)
      process.kill(engine.pid, 'SIGKILL') // it would not hear that it is to end
      await close()
    },
  )

  it('by silence cannot keep its machine from being ended', async () => {
    const { engine, close } = await taken('silence')
    engine.end({ kind: 'killed' })
    await engine.settled
    await close()
    expect(isAlive(engine.pid)).toBe(false)
  })
})

describe('the disks of an isolated machine', () => {
  const isolated = { isolation: 'process', memory: { size: MEMORY, kind: 'memfd' } } as const
  const image = (path: string) => {
    writeFileSync(path, new Uint8Array(2 ** 16))
    return path
  }
  const kept = new Uint8Array(2 ** 16)
  const custom = {
    size: kept.length,
    read: async (offset: number, length: number) => kept.slice(offset, offset + length),
    write: async (offset: number, data: Uint8Array) => kept.set(data, offset),
  }
  it.each<[string, (folder: string) => BlockBackend]>([
    ['a file', (path) => new FileDisk(image(path))],
    ['a file, by Node', (path) => new FileDisk(image(path), { engine: 'js' })],
    ['memory', () => new MemoryDisk(2 ** 16)],
    ['an overlay', (path) => new OverlayDisk(image(path))],
    ["the program's own", () => new CustomDisk(custom)],
    ['one with faults', (path) => new FaultyDisk(new FileDisk(image(path)))],
  ])('hold what is written to them: %s', async (_name, make) => {
    using folder = temporaryFolder('isolated-disk')
    const witness = await Witness.start({ ...isolated, disks: [make(folder.path('image'))] })
    for (let i = 0; i < 5; i++) await witness.expectProgress()
    const { vm } = witness
    await vm.pause()
    expect(vm.disks[0]!.counters).toMatchObject({ errors: 0, dropped: 0 })
    expect(vm.disks[0]!.counters.writes).toBeGreaterThan(4)
    expect(vm.disks[0]!.engine).not.toBe('')
    await witness.close()
  })

  it('are locked, and are free when it has ended', async () => {
    using folder = temporaryFolder('isolated-lock')
    const path = image(folder.path('image'))
    const vm = await create([guest.halt], { disks: [new FileDisk(path)] })
    const second = create([guest.halt], { disks: [new FileDisk(path)] })
    await expect(second).rejects.toMatchObject({ code: 'ERR_DISK', option: 'disks[0].path' })
    await vm.start()
    process.kill(vm.pid, 'SIGKILL')
    await vm.stopped
    await vm.close()
    const third = await create([guest.halt], { disks: [new FileDisk(path)] })
    await third.close()
  })
})

describe('the network cards of an isolated machine', () => {
  const noTap = noTapReason()
  if (noTap !== undefined) console.log(`TAP is not tested: ${noTap}`)

  it.skipIf(noTap !== undefined)('send by a TAP that the program has opened', async () => {
    const tap = new TapInterface()
    try {
      const options = {
        ...sendingGuest(),
        nets: [new Tap(tap.name)],
        isolation: 'process',
      } as const
      await using vm = await VirtualMachine.create(options)
      const file = `/sys/class/net/${tap.name}/statistics/rx_packets`
      await vm.start()
      await expect.poll(() => Number(readFileSync(file, 'utf8'))).toBeGreaterThan(100)
      await vm.pause()
      expect(vm.nets[0]!.counters).toMatchObject({ txDropped: 0 })
      expect(() => vm.nets[0]!.capture(tap.name)).toThrow(
        expect.objectContaining({ code: 'ERR_STATE' }),
      )
    } finally {
      tap.remove()
    }
  })

  it('send to a switch of the program, and see their cable pulled', async () => {
    const network = new VirtualSwitch()
    let frames = 0
    network.on('frame', ({ length }) => {
      if (length === 1514) frames++
    })
    const stream = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
    const nets = [network.port({ mac: '52:54:00:00:00:01' }), new StreamNet(stream)]
    await using vm = await VirtualMachine.create({ ...sendingGuest(), nets, isolation: 'process' })
    const [card, other] = vm.nets
    expect([card!.mac, card!.link, card!.vhost]).toEqual(['52:54:00:00:00:01', true, false])
    await vm.start()
    await expect.poll(() => frames).toBeGreaterThan(100)
    card!.setLink(false)
    expect(card!.link).toBe(false)
    await expect.poll(() => card!.counters.txDropped).toBeGreaterThan(0)
    expect(() => card!.setLimits({ transmitLimit: { frames: 1 } as never })).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION' }),
    )
    const warning = once(vm, 'warning')
    stream.destroy()
    expect(await warning).toMatchObject([{ kind: 'link-lost', device: 'net1' }])
    expect(other!.link).toBe(false)
  })
})
