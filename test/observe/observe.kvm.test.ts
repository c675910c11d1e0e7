import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import {
  EXIT_CHANNEL,
  type ExitMessage,
  type Log,
  MemoryDisk,
  metricsText,
  serveMetrics,
  Trace,
} from '../../lib/index.js'
import { exitChannel } from '../../lib/util/diagnostics.js'
import { temporaryFolder } from '../helpers/temporary-folder.js'
import { tinyMachines } from '../machine/machines.js'
import * as guest from '../machine/tiny-guest.js'

const create = tinyMachines({ name: 'watched' })

async function run(...given: Parameters<typeof create>) {
  const vm = await create(...given)
  await vm.start()
  await vm.stopped
  return vm
}

const line = (text: string, name: string) =>
  text.split('\n').find((each) => each.startsWith(name)) ?? `no ${name}`

describe('vm.stats()', () => {
  it('has the counters of each device', async () => {
    const { devices } = (
      await run([guest.powerOff], { disks: [new MemoryDisk(4096)], rng: true })
    ).stats()
    expect(devices.map(({ name }) => name)).toEqual(['console', 'block0', 'rng'])
    expect(devices[1]!.counters).toMatchObject({ reads: 0, kicks: 0, interrupts: 0 })
  })
})

describe('metrics', () => {
  it('tell of machines that are not closed', async () => {
    const vm = await run([guest.print('hello'), guest.powerOff])
    const closed = await run([guest.powerOff], { name: 'closed' })
    await closed.close()
    const text = await metricsText([vm, closed])
    expect(line(text, 'node_kvm_machine_running{')).toBe(
      'node_kvm_machine_running{machine="watched"} 0',
    )
    const [exits] = vm.stats().exits.filter(({ reason }) => reason === 'KVM_EXIT_IO')
    const io = 'node_kvm_exits_total{machine="watched",reason="KVM_EXIT_IO"}'
    expect(text).toContain(`${io} ${exits!.count}\n`)
    const lost = 'node_kvm_device_total{machine="watched",device="console",counter="lost"}'
    expect(line(text, lost)).toBe(`${lost} 0`)
    expect(text).not.toContain('closed')
  })

  it('are served to this machine alone', async () => {
    const vm = await create([guest.spin], { name: 'a "quoted" name' })
    await using server = await serveMetrics({ machines: () => [vm] })
    const get = (path: string, method = 'GET') =>
      fetch(`http://127.0.0.1:${server.port}${path}`, { method })
    const response = await get('/metrics')
    expect(response.headers.get('content-type')).toContain('version=0.0.4')
    expect(await response.text()).toContain('machine="a \\"quoted\\" name"')
    for (const [path, method] of [
      ['/', 'GET'],
      ['/metrics', 'POST'],
      ['/metrics/../etc/passwd', 'GET'],
    ]) {
      const refused = await get(path!, method)
      expect(refused.status).toBe(404)
      await refused.text()
    }
  })

  it.each([
    ['machines', { machines: [] }],
    ['port', { machines: () => [], port: 65536 }],
    ['port', { machines: () => [], port: '1' }],
    ['host', { machines: () => [], host: '' }],
  ])('refuse %s: %o', async (option, options) => {
    await expect(serveMetrics(options as never)).rejects.toMatchObject({ option })
  })
})

describe('the exit channel', () => {
  it('tells of exits that JavaScript answers, while somebody listens', async () => {
    const messages: ExitMessage[] = []
    const onExit = (message: unknown) => messages.push(message as ExitMessage)
    subscribe(EXIT_CHANNEL, onExit)
    await run([guest.powerOff])
    unsubscribe(EXIT_CHANNEL, onExit)
    expect(messages.at(-1)).toMatchObject({
      machine: 'watched',
      vcpu: 0,
      access: expect.stringMatching(/^acpi.*: write of 2 bytes at offset 0x4$/),
    })
    for (const { start, end } of messages) expect(end).toBeGreaterThanOrEqual(start)
    const before = messages.length
    await run([guest.powerOff])
    expect(messages).toHaveLength(before)
  })
})

describe('a trace', () => {
  it('is what Perfetto reads', async () => {
    using folder = temporaryFolder('trace')
    using trace = new Trace()
    await run([guest.powerOff])
    await trace.write(folder.path('trace.json'))
    const { traceEvents } = JSON.parse(readFileSync(folder.path('trace.json'), 'utf8'))
    expect(traceEvents[0]).toMatchObject({ ph: 'M', args: { name: 'watched' } })
    const exit = traceEvents.at(-1)
    expect(exit).toMatchObject({
      ph: 'X',
      cat: 'exit',
      pid: 1,
      tid: 1,
      args: { reason: 'KVM_EXIT_IO' },
    })
    expect(typeof exit.ts).toBe('number')
    expect(exit.dur).toBeGreaterThan(0)
  })

  it('is bounded, and ends', async () => {
    const trace = new Trace({ limit: 1 })
    await run([guest.resetByChipset])
    await run([guest.powerOff])
    expect(trace.toJSON().traceEvents.filter(({ ph }) => ph === 'X')).toHaveLength(1)
    expect(trace.dropped).toBeGreaterThan(0)
    trace.close()
    expect(exitChannel.hasSubscribers).toBe(false)
  })

  it.each([0, 1.5, 10_000_001, '5'])('refuses a limit of %s', (limit) => {
    expect(() => new Trace({ limit: limit as number })).toThrow(
      expect.objectContaining({ option: 'limit' }),
    )
    expect(exitChannel.hasSubscribers).toBe(false)
  })
})

describe('the log', () => {
  function recorder() {
    const lines: [level: string, fields: object, message: string][] = []
    const write = (level: string) => (fields: object, message: string) => {
      lines.push([level, fields, message])
    }
    const log = Object.fromEntries(['debug', 'info', 'warn', 'error'].map((l) => [l, write(l)]))
    return { log: log as unknown as Log, lines }
  }

  it("has a machine's life, in pino's form", async () => {
    const { log, lines } = recorder()
    const vm = await run([guest.tripleFault], { log })
    await vm.close()
    expect(lines.map(([level, , message]) => `${level}: ${message}`)).toEqual([
      'debug: the machine is running',
      expect.stringMatching(/^warn: the guest crashed: /),
      'debug: the machine is stopped',
      'debug: the machine is closed',
    ])
    for (const [, fields] of lines) expect(fields).toMatchObject({ machine: 'watched' })
  })

  it('that throws harms nothing', async () => {
    const { log } = recorder()
    log.debug = () => {
      throw new Error('disk full')
    }
    const vm = await run([guest.powerOff], { log })
    expect(await vm.stopped).toEqual({ kind: 'shutdown' })
  })

  it.each([{}, console.log, 'pino', { debug() {}, info() {}, warn() {} }])(
    'refuses %o',
    async (log) => {
      await expect(create([guest.spin], { log: log as never })).rejects.toMatchObject({
        option: 'log',
      })
    },
  )
})
