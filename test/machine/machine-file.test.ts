import { writeFileSync } from 'node:fs'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { describe, expect, it } from 'vitest'
import { FileDisk, Passt, Tap } from '../../lib/index.js'
import { parseConfig } from '../../lib/machine/machine-config.js'
import { machineFromJson, readMachineFile } from '../../lib/machine/machine-file.js'
import schema from '../../machine.schema.json' with { type: 'json' }
import { temporaryFolder } from '../helpers/temporary-folder.js'

const followsSchema = new Ajv2020({ strict: false }).compile(schema)

/** What the file's own checks and those of the options say, together. */
const read = (given: unknown) => parseConfig(machineFromJson(given, '/folder'))

const mac = '52:54:00:12:34:56'
const GOOD: unknown[] = [
  { kernel: 'vmlinuz' },
  { $schema: './machine.schema.json', kernel: '/boot/vmlinuz', initrd: 'initrd', name: 'a' },
  { kernel: 'k', memory: '512M', cpus: 4, topology: { cores: 2, threads: 2 } },
  { kernel: 'k', memory: 67108864, console: { bufferSize: '64K' }, acpi: false },
  { kernel: 'k', flatBinary: { mode: 'real', address: 31744 }, decompress: 'host' },
  { kernel: 'k', disks: [{ path: 'd' }, { path: '/e', readOnly: true, queues: 2, engine: 'js' }] },
  { kernel: 'k', disks: [{ path: 'd', id: 'serial', rateLimit: { bytes: { perSecond: 1 } } }] },
  {
    kernel: 'k',
    nets: [
      { tap: 'tap0', mac, queues: 2, vhost: 'auto' },
      { passt: {}, link: false },
    ],
  },
  { kernel: 'k', nets: [{ passt: { forwards: [{ hostPort: 80 }] }, mac }] },
  { kernel: 'k', vsock: { cid: 5, unixSocket: '/tmp/s' }, balloon: {}, rng: true },
  { kernel: 'k', virtioConsole: { ports: ['a.b'] }, packedQueues: true, onReset: 'restart' },
  { firmware: { image: 'bios.bin' } },
  { firmware: { image: '/a/OVMF_CODE.fd', variables: 'VARS.fd' }, devices: { debugcon: true } },
  { kernel: 'k', modules: [{ image: 'a' }, { image: 'b', commandLine: 'c' }] },
  { kernel: 'k', devices: { pvpanic: true, debugExit: { port: 244 } }, discovery: 'auto' },
]

const BAD: [option: string, given: unknown][] = [
  ['the file', []],
  ['the file', null],
  ['the file', 'kernel'],
  ['kernel', {}],
  ['kernel', { kernel: '' }],
  ['kernel', { kernel: 5 }],
  ['kernal', { kernel: 'k', kernal: 'x' }],
  ['signal', { kernel: 'k', signal: {} }],
  ['constructor', { kernel: 'k', constructor: 1 }],
  ['__proto__', JSON.parse('{"kernel":"k","__proto__":{}}')],
  ['initrd', { kernel: 'k', initrd: false }],
  ['firmware', { firmware: 'bios.bin' }],
  ['firmware.image', { firmware: {} }],
  ['firmware.variables', { firmware: { image: 'x', variables: '' } }],
  ['modules[0].path', { kernel: 'k', modules: [{ path: 'x' }] }],
  ['memory', { kernel: 'k', memory: 'much' }],
  ['memory', { kernel: 'k', memory: true }],
  ['cpus', { kernel: 'k', cpus: 0 }],
  ['cpus', { kernel: 'k', cpus: '4' }],
  ['topology.dies', { kernel: 'k', topology: { dies: 1 } }],
  ['disks', { kernel: 'k', disks: {} }],
  ['disks[0]', { kernel: 'k', disks: ['path'] }],
  ['disks[0].path', { kernel: 'k', disks: [{}] }],
  ['disks[1].readonly', { kernel: 'k', disks: [{ path: 'd' }, { path: 'e', readonly: true }] }],
  ['disks[0].queues', { kernel: 'k', disks: [{ path: 'd', queues: 17 }] }],
  ['disks[0].id', { kernel: 'k', disks: [{ path: 'd', id: 'x'.repeat(21) }] }],
  ['disks[0].engine', { kernel: 'k', disks: [{ path: 'd', engine: 'fast' }] }],
  [
    'disks[0].rateLimit.bytes.perSecond',
    { kernel: 'k', disks: [{ path: 'd', rateLimit: { bytes: { perSecond: 0 } } }] },
  ],
  ['nets[0]', { kernel: 'k', nets: [{}] }],
  ['nets[0]', { kernel: 'k', nets: [{ tap: 't', passt: {} }] }],
  ['nets[0].queues', { kernel: 'k', nets: [{ passt: {}, queues: 2 }] }],
  ['nets[0].vhost', { kernel: 'k', nets: [{ passt: {}, vhost: true }] }],
  ['nets[0].vhost', { kernel: 'k', nets: [{ tap: 't', vhost: 'maybe' }] }],
  ['nets[0].mac', { kernel: 'k', nets: [{ tap: 't', mac: 'x' }] }],
  ['flatBinary.mode', { kernel: 'k', flatBinary: {} }],
  ['vsock.cid', { kernel: 'k', vsock: { cid: 2 } }],
  ['console.bufferSize', { kernel: 'k', console: { bufferSize: 1 } }],
  ['onReset', { kernel: 'k', onReset: 'explode' }],
  ['acpi', { kernel: 'k', acpi: 'no' }],
  ['isolation', { kernel: 'k', isolation: 'jail' }],
  ['name', { kernel: 'k', name: 1 }],
]

describe('a file that describes a machine', () => {
  it.each(GOOD)('%j', (given) => {
    expect(followsSchema(given), JSON.stringify(followsSchema.errors)).toBe(true)
    read(given)
  })

  it.each(BAD)('is refused for %s: %j', (option, given) => {
    expect(followsSchema(given)).toBe(false)
    expect(() => read(given)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION', option }),
    )
  })

  it('has paths that are relative to it, and backends', () => {
    const { kernel, initrd, disks, nets } = machineFromJson(
      {
        kernel: 'boot/vmlinuz',
        initrd: '/initrd',
        disks: [{ path: 'disk', readOnly: true, queues: 3 }],
        nets: [{ tap: 'tap0', mac }, { passt: {} }],
      },
      '/machines',
    )
    expect([kernel, initrd]).toEqual(['/machines/boot/vmlinuz', '/initrd'])
    expect(disks).toMatchObject([
      { queues: 3, backend: { path: '/machines/disk', readOnly: true } },
    ])
    const backends = nets!.map((net) => ('backend' in net ? net.backend : net))
    expect((disks![0] as { backend: unknown }).backend).toBeInstanceOf(FileDisk)
    expect(backends[0]).toBeInstanceOf(Tap)
    expect(backends[1]).toBeInstanceOf(Passt)
  })

  it('may have every option that a program may give, but those that are no data', () => {
    const {
      consoleBufferSize: _,
      memoryBacking: _____,
      signal: __,
      log: ___,
      attach: ____,
      ...options
    } = parseConfig({ kernel: 'k' })
    const published = Object.keys(schema.properties)
    const names = [...Object.keys(options), 'console', '$schema']
    expect(published.sort(), 'machine.schema.json').toEqual(names.sort())
    for (const name of names) read({ kernel: 'k', [name]: name === 'kernel' ? 'k' : undefined })
  })
})

describe('readMachineFile', () => {
  it.each([
    ['{', 'JSON'],
    ['{"kernel":1}', 'kernel: expected a path, got 1'],
    ['[]', 'the file: expected an object of options, got an array'],
    ['{"kernel":"k","disks":[{"path":"d","rw":1}]}', 'disks[0].rw: expected no such option'],
  ])('of %s tells %s', async (text, message) => {
    using folder = temporaryFolder('machine-file')
    const file = folder.path('machine.json')
    writeFileSync(file, text)
    await expect(readMachineFile(file)).rejects.toMatchObject({
      code: 'ERR_INVALID_OPTION',
      message: expect.stringMatching(`^${file}: `),
    })
    await expect(readMachineFile(file)).rejects.toThrow(message)
  })

  it('that is not there', async () => {
    await expect(readMachineFile('/no/such/file')).rejects.toMatchObject({ option: 'file' })
  })
})
