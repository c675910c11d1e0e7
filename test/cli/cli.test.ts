import { PassThrough } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { parsePlace } from '../../lib/cli/cp.js'
import { EXIT_STATUS, EXIT_STATUS_HELP, exitStatus } from '../../lib/cli/exit-status.js'
import {
  parseCpuSpec,
  parseCpusSpec,
  parseDiskSpec,
  parseGdbSpec,
  parseMemorySpec,
  parseModuleSpec,
  parseNetSpec,
  parseShareSpec,
} from '../../lib/cli/specs.js'
import { attachTerminal, EscapeFilter } from '../../lib/cli/terminal.js'

describe('--disk', () => {
  it.each([
    ['disk.img', 'disk.img', false],
    ['disk.img,readonly', 'disk.img', true],
    ['a,,b.img', 'a,b.img', false],
    ['a,,b.img,readonly', 'a,b.img', true],
    ['/dev/sda', '/dev/sda', false],
  ])('%s', (text, path, readOnly) => {
    expect(parseDiskSpec(text)).toEqual({ path, readOnly })
  })

  it('takes a number of queues', () => {
    const spec = { path: 'disk.img', readOnly: true, queues: 4 }
    expect(parseDiskSpec('disk.img,queues=4,readonly')).toEqual(spec)
    expect(() => parseDiskSpec('disk.img,queues=')).toThrow('whole number')
  })

  it.each(['', ',readonly', 'disk.img,', 'disk.img,rw', 'disk.img,readonly,x'])(
    'refuses %j',
    (text) => expect(() => parseDiskSpec(text)).toThrow('expected PATH[,readonly]'),
  )
})

describe('--module', () => {
  it.each([
    ['a.bin', { image: 'a.bin' }],
    ['a,,b.bin', { image: 'a,b.bin' }],
    ['a.bin,', { image: 'a.bin', commandLine: '' }],
    ['a.bin,root=/dev/vda,rw x', { image: 'a.bin', commandLine: 'root=/dev/vda,rw x' }],
  ])('%s', (text, spec) => expect(parseModuleSpec(text)).toEqual(spec))

  it.each(['', ',x'])('refuses %j', (text) =>
    expect(() => parseModuleSpec(text)).toThrow('expected PATH[,TEXT]'),
  )
})

describe('--cpus', () => {
  it.each([
    ['4', { cpus: 4 }],
    ['8,sockets=2,threads=2', { cpus: 8, topology: { sockets: 2, threads: 2 } }],
    ['6,cores=6', { cpus: 6, topology: { cores: 6 } }],
  ])('%s', (text, spec) => expect(parseCpusSpec(text)).toEqual(spec))

  it.each(['', 'two', '-1', '1.5', '4,', '4,dies=2', '4,cores=', '4,cores=x', 'cores=4'])(
    'refuses %j',
    (text) => expect(() => parseCpusSpec(text)).toThrow(/whole number|not known here/),
  )
})

describe('--memory', () => {
  it.each([
    ['512M', '512M'],
    ['2G,kind=hugetlb-2M,prefault', { size: '2G', kind: 'hugetlb-2M', prefault: true }],
    ['1G,mergeable,locked', { size: '1G', mergeable: true, locked: true }],
  ])('%s', (text, spec) => expect(parseMemorySpec(text)).toEqual(spec))

  it.each(['1G,', '1G,huge', '1G,kind', '1G,prefault=yes'])('refuses %j', (text) =>
    expect(() => parseMemorySpec(text)).toThrow('SIZE[,kind=KIND]'),
  )
})

describe('--cpu', () => {
  it.each([
    ['host', { model: 'host', features: {} }],
    ['x86-64-v2,+aes,-x2apic', { model: 'x86-64-v2', features: { aes: true, x2apic: false } }],
  ])('%s', (text, spec) => expect(parseCpuSpec(text)).toEqual(spec))

  it.each(['host,aes', 'host,', 'host,+'])('refuses %j', (text) =>
    expect(() => parseCpuSpec(text)).toThrow('MODEL[,+FEATURE]'),
  )
})

describe('--gdb', () => {
  it.each([
    ['1234', { port: 1234 }],
    [':0', undefined],
    ['0.0.0.0:1234', { host: '0.0.0.0', port: 1234 }],
    ['[::1]:1234', { host: '::1', port: 1234 }],
    ['./gdb', { path: './gdb' }],
    ['/run/gdb:1', { path: '/run/gdb:1' }],
    ['gdb', undefined],
    ['65536', undefined],
    ['', undefined],
    ['::1:1234', undefined],
  ])('%j', (text, spec) => {
    if (spec) expect(parseGdbSpec(text)).toEqual(spec)
    else expect(() => parseGdbSpec(text)).toThrow('expected [HOST:]PORT')
  })
})

describe('--net', () => {
  const mac = '52:54:00:00:00:01'
  const web = { protocol: 'tcp', hostPort: 8080, guestPort: 80 }

  it.each([
    ['tap=tap0', { kind: 'tap', tap: 'tap0' }],
    [`tap=tap0,mac=${mac}`, { kind: 'tap', tap: 'tap0', mac }],
    [`mac=${mac},tap=t=1,queues=4`, { kind: 'tap', tap: 't=1', mac, queues: 4 }],
    ['tap=t,vhost', { kind: 'tap', tap: 't', vhost: true }],
    ['vhost=auto,tap=t', { kind: 'tap', tap: 't', vhost: 'auto' }],
    ['passt', { kind: 'passt', forwards: [] }],
    [`passt,mac=${mac},forward=tcp:8080:80`, { kind: 'passt', mac, forwards: [web] }],
    [
      'forward=tcp:127.0.0.1:8080:80,passt,forward=UDP:[::1]:53:5353',
      {
        kind: 'passt',
        forwards: [
          { ...web, hostAddress: '127.0.0.1' },
          { protocol: 'udp', hostAddress: '::1', hostPort: 53, guestPort: 5353 },
        ],
      },
    ],
  ])('%s', (text, spec) => {
    expect(parseNetSpec(text)).toEqual(spec)
  })

  it.each([
    '',
    'tap0',
    'tap=',
    `mac=${mac}`,
    'tap=tap0,',
    'tap=tap0,mtu=9000',
    'tap=tap0,passt',
    'tap=tap0,tap=tap1',
    'tap=tap0,forward=tcp:1:1',
    'passt=1',
    'passt,queues=2',
    'passt,vhost',
    'tap=t,vhost=maybe',
  ])('refuses %j', (text) => expect(() => parseNetSpec(text)).toThrow('expected tap=NAME'))

  it.each(['', 'tcp', 'tcp:80', 'sctp:1:2', 'tcp:80:', 'tcp::1:80:80', 'tcp:a:80:80', 'tcp:-1:2'])(
    'refuses the forward %j',
    (text) => expect(() => parseNetSpec(`passt,forward=${text}`)).toThrow('is no forward'),
  )

  it.each(['', 'x', '-1', '1.5'])('refuses %j queues', (text) =>
    expect(() => parseNetSpec(`tap=tap0,queues=${text}`)).toThrow('whole number'),
  )
})

describe('EscapeFilter', () => {
  const typed = (...parts: string[]) => {
    const filter = new EscapeFilter()
    const keys = parts.map((part) => filter.push(Buffer.from(part, 'latin1')))
    return {
      bytes: keys.map(({ bytes }) => Buffer.from(bytes).toString('latin1')).join(''),
      leave: keys.map(({ leave }) => leave),
    }
  }

  it.each<[parts: string[], bytes: string, leave: boolean[]]>([
    [['ls\r'], 'ls\r', [false]],
    [['\x01x'], '', [true]],
    [['\x01', 'x'], '', [false, true]],
    [['ab\x01xcd'], 'ab', [true]],
    [['\x01\x01'], '\x01', [false]],
    [['\x01\x01x'], '\x01x', [false]],
    [['\x01', '\x01', 'x'], '\x01x', [false, false, false]],
    [['\x01b'], '\x01b', [false]],
    [['x\xff\x00'], 'x\xff\x00', [false]],
    [['', '\x01', '', 'x'], '', [false, false, false, true]],
  ])('%j', (parts, bytes, leave) => {
    expect(typed(...parts)).toEqual({ bytes, leave })
  })
})

describe('attachTerminal', () => {
  function terminal(isTTY: boolean) {
    const modes: boolean[] = []
    const stdin = Object.assign(new PassThrough(), {
      isTTY,
      setRawMode: (mode: boolean) => modes.push(mode),
    })
    const console = { input: new PassThrough(), output: new PassThrough() }
    const stdout = new PassThrough()
    let left = 0
    const restore = attachTerminal(console, () => left++, stdin as never, stdout)
    return { stdin, stdout, console, modes, restore, left: () => left }
  }
  const turn = () => new Promise((resolve) => setImmediate(resolve))

  it('puts a terminal into raw mode and back', async () => {
    const listeners = process.listenerCount('exit')
    const { stdin, modes, restore, left, console } = terminal(true)
    expect(modes).toEqual([true])
    stdin.write('a\x01x')
    await turn()
    expect(left()).toBe(1)
    expect(String(console.input.read())).toBe('a')
    restore()
    expect(modes).toEqual([true, false])
    expect(process.listenerCount('exit')).toBe(listeners)
  })

  it('passes on what is no terminal as it is', async () => {
    const { stdin, modes, restore, left, console } = terminal(false)
    stdin.write('a\x01x')
    await turn()
    expect(String(console.input.read())).toBe('a\x01x')
    expect(left()).toBe(0)
    restore()
    expect(modes).toEqual([])
  })
})

describe('exit status', () => {
  it.each([
    [{ kind: 'shutdown' }, 0],
    [{ kind: 'error', error: new Error('x') }, 1],
    [{ kind: 'reset' }, 10],
    [{ kind: 'crashed', detail: 'x' }, 11],
    [{ kind: 'killed' }, 12],
  ] as const)('%o', (reason, status) => {
    expect(exitStatus(reason)).toBe(status)
  })

  it('is listed by --help, each', () => {
    for (const status of Object.values(EXIT_STATUS)) {
      expect(EXIT_STATUS_HELP).toMatch(new RegExp(`^ +${status}  \\S`, 'm'))
    }
  })
})

describe('what cp takes', () => {
  it.each([
    ['lab:/x', 'lab', '/x'],
    ['lab:x', 'lab', '/x'],
    ['lab:', 'lab', '/'],
    ['./lab:x', undefined, './lab:x'],
    ['/a:b', undefined, '/a:b'],
    ['file', undefined, 'file'],
  ])('%s', (text, machine, path) => expect(parsePlace(text)).toEqual({ machine, path }))
})

describe('--share', () => {
  it.each([
    ['work=/srv', { tag: 'work', path: '/srv', readOnly: false }],
    ['a=b,readonly', { tag: 'a', path: 'b', readOnly: true }],
    ['a=with,,comma=and', { tag: 'a', path: 'with,comma=and', readOnly: false }],
  ])('takes %s', (text, spec) => expect(parseShareSpec(text)).toEqual(spec))

  it.each(['', 'work', 'work=', '=/srv', 'a=b,rw', 'a=b,'])('refuses %j', (text) =>
    expect(() => parseShareSpec(text)).toThrow('expected TAG=PATH[,readonly]'),
  )
})
