import { totalmem } from 'node:os'
import { describe, expect, it } from 'vitest'
import { VmmError } from '../../lib/errors.js'
import { parseConfig } from '../../lib/machine/machine-config.js'
import { checkLimits } from '../../lib/machine/machine-limits.js'
import type { VirtualMachineOptions } from '../../lib/machine/machine-options.js'
import { MEMORY_MIN } from '../../lib/machine/memory-options.js'

const GOOD = { kernel: 'vmlinuz' }

/** The error that options raise; they may be of any type. */
function errorOf(options: unknown): VmmError {
  try {
    parseConfig(options as VirtualMachineOptions)
  } catch (error) {
    if (!(error instanceof VmmError)) throw error
    return error
  }
  throw new Error('these options were taken')
}

const hostile = {
  valueOf() {
    throw new Error('valueOf must not be called')
  },
  toString() {
    throw new Error('toString must not be called')
  },
}
const NUMBERS = [NaN, Infinity, -Infinity, -0, 0, 1.5, -1, 2 ** 53 + 2, 1n, '1e9', null, hostile]

describe('parseConfig', () => {
  it('completes what is left out', () => {
    expect(parseConfig(GOOD)).toEqual({
      kernel: 'vmlinuz',
      firmware: undefined,
      flatBinary: undefined,
      decompress: 'guest',
      initrd: undefined,
      modules: [],
      commandLine: '',
      memory: 256 * 2 ** 20,
      memoryBacking: {
        kind: 'anonymous',
        prefault: false,
        mergeable: false,
        locked: false,
        numa: undefined,
      },
      cpu: { model: 'host', features: {} },
      cpuAffinity: [],
      cpuNice: 0,
      cpus: 1,
      topology: { sockets: 1, cores: 1, threads: 1 },
      disks: [],
      nets: [],
      transport: 'pci',
      packedQueues: false,
      inOrderQueues: false,
      rng: false,
      shares: [],
      vsock: undefined,
      agent: undefined,
      virtioConsole: undefined,
      balloon: undefined,
      virtioMem: undefined,
      irqchip: 'kernel',
      numa: undefined,
      devices: {
        debugcon: undefined,
        debugExit: undefined,
        pvpanic: undefined,
        testDevice: false,
        watchdog: undefined,
        vmGenerationId: undefined,
      },
      attach: [],
      onReset: 'stop',
      consoleBufferSize: 2 ** 20,
      acpi: true,
      discovery: 'auto',
      isolation: 'none',
      name: 'vm',
    })
  })

  it('takes undefined for what is left out', () => {
    const options = { initrd: undefined, memory: undefined, cpus: undefined, console: undefined }
    expect(parseConfig({ ...GOOD, ...options } as never)).toEqual(parseConfig(GOOD))
  })

  it.each(['16M', '16 MiB', 16 * 2 ** 20, '0.015625g'])('takes %s for 16 MiB', (memory) => {
    expect(parseConfig({ ...GOOD, memory }).memory).toBe(16 * 2 ** 20)
  })

  const strings = [null, 1, 1n, NaN, {}, [], hostile]
  const wrong: Record<string, readonly unknown[]> = {
    kernel: ['', undefined, ...strings, new ArrayBuffer(8)],
    initrd: ['', ...strings],
    commandLine: strings,
    modules: [null, 'initrd', {}, 7],
    rng: [null, 0, 'yes', {}, hostile],
    acpi: [null, 0, 'off', {}, hostile],
    flatBinary: [null, true, 'real', []],
    packedQueues: [null, 0, 'yes', {}, hostile],
    inOrderQueues: [null, 1],
    vsock: [null, true, 3, []],
    virtioConsole: [null, true, 'hvc0', []],
    balloon: [null, true, 64, []],
    devices: [null, true, 'debugcon', []],
    onReset: [null, true, '', 'Restart', hostile],
    decompress: [null, true, '', 'Host', hostile],
    name: strings,
    memory: [
      ...NUMBERS.filter((value) => value !== hostile),
      [],
      1,
      MEMORY_MIN - 4096,
      MEMORY_MIN + 1,
      Math.ceil(totalmem() / 4096 + 1) * 4096,
      2 ** 50,
      '',
      '256Q',
      '-256M',
      '0x10000000',
    ],
    cpus: NUMBERS,
    cpu: [null, 1, '', 'Host', []],
    cpuAffinity: [null, 0, 'all', {}],
    cpuNice: [null, -1, 20, 0.5, '5', {}],
    disks: [null, 'disk.img', {}, hostile, { length: 1 }],
    nets: [null, 'tap0', {}, hostile],
    console: [null, 1, 'big', []],
    discovery: [null, '', 'ACPI', 1, hostile],
  }
  const cases = Object.entries(wrong).flatMap(([option, values]) =>
    values.map((value) => [option, value] as const),
  )
  it.each(cases)('names %s as what is wrong (%#)', (option, value) => {
    const error = errorOf({ ...GOOD, [option]: value })
    expect(error.code).toBe('ERR_INVALID_OPTION')
    expect(error.option).toBe(option)
    expect(Object.is(error.value, value)).toBe(true)
    expect(error.expected).toMatch(/\w/)
    expect(error.message).toContain(`${option}: expected ${error.expected}, got `)
  })

  it.each(NUMBERS)('names the console buffer size as what is wrong (%#)', (bufferSize) => {
    const error = errorOf({ ...GOOD, console: { bufferSize } })
    expect(error).toMatchObject({ code: 'ERR_INVALID_OPTION', option: 'console.bufferSize' })
  })

  it.each([...NUMBERS, 2, 2 ** 32 - 1])('names the context ID as what is wrong (%#)', (cid) => {
    const error = errorOf({ ...GOOD, vsock: { cid } })
    expect(error).toMatchObject({ code: 'ERR_INVALID_OPTION', option: 'vsock.cid' })
  })

  it.each(['', 1, null, 'x'.repeat(108)])(
    'names the socket as what is wrong (%#)',
    (unixSocket) => {
      const error = errorOf({ ...GOOD, vsock: { unixSocket } })
      expect(error).toMatchObject({ option: 'vsock.unixSocket', value: unixSocket })
    },
  )

  it.each([
    ['flatBinary.mode', { flatBinary: {} }],
    ['flatBinary.mode', { flatBinary: { mode: 'vm86' } }],
    ['flatBinary.address', { flatBinary: { mode: 'real', address: -1 } }],
    ['flatBinary.entry', { flatBinary: { mode: 'real', entry: '0x7c00' } }],
    ['discovery', { acpi: false, discovery: 'acpi' }],
    ['modules[0]', { modules: [null] }],
    ['modules[1]', { modules: ['a', 7] }],
    ['modules[0].image', { modules: [''] }],
    ['modules[0].image', { modules: [{ image: '' }] }],
    ['modules[0].commandLine', { modules: [{ image: 'a', commandLine: 1 }] }],
    ['modules[0].name', { modules: [{ image: 'a', name: 'b' }] }],
  ])('names %s as what is wrong (%#)', (option, options) => {
    const error = errorOf({ ...GOOD, ...options })
    expect(error).toMatchObject({ code: 'ERR_INVALID_OPTION', option })
  })

  it('counts every device', () => {
    const disks = Array.from({ length: 29 }, () => ({ open: async () => {} })) as never[]
    expect(parseConfig({ ...GOOD, disks, rng: true }).rng).toBe(true)
    const error = errorOf({ ...GOOD, disks, rng: true, vsock: {} })
    expect(error.message).toContain('disks, nets, rng and vsock together')
    const both = errorOf({ ...GOOD, disks, virtioConsole: {}, balloon: {} })
    expect(both.message).toContain('disks, nets, virtioConsole and balloon together')
  })

  it.each([null, {}, 'disk.img', { open: 1 }])('names the disk that is none (%#)', (disk) => {
    const fine = { open: async () => {}, close: async () => {} }
    const error = errorOf({ ...GOOD, disks: [fine, disk] })
    expect(error).toMatchObject({ code: 'ERR_INVALID_OPTION', option: 'disks[1]', value: disk })
  })

  it.each([undefined, null, 0, 'vmlinuz', [], () => {}])('wants an object (%#)', (options) => {
    expect(errorOf(options)).toMatchObject({ code: 'ERR_INVALID_OPTION', value: options })
  })

  it.each([
    ['mmio', 16],
    ['pci', 30],
  ] as const)('takes on %s %i devices and no more', (transport, most) => {
    const backends = Array.from({ length: most / 2 + 1 }, () => ({ open: async () => {} }))
    const disks = backends.slice(1) as never[]
    const nets = backends as never[]
    const error = errorOf({ ...GOOD, transport, disks, nets })
    expect(error).toMatchObject({ code: 'ERR_INVALID_OPTION', option: 'disks' })
    const options = { ...GOOD, transport, disks, nets: nets.slice(1) }
    expect(parseConfig(options).disks).toHaveLength(most / 2)
  })

  it.each<['pci' | 'mmio', Partial<VirtualMachineOptions>]>([
    ['pci', {}],
    ['pci', { commandLine: 'acpi=offline' }],
    ['pci', { discovery: 'acpi', commandLine: 'acpi=off' }],
    ['pci', { transport: 'pci', acpi: false }],
    ['pci', { kernel: undefined as never, firmware: 'bios.bin', acpi: false }],
    ['mmio', { acpi: false }],
    ['mmio', { discovery: 'command-line' }],
    ['mmio', { commandLine: 'quiet acpi=off' }],
    ['mmio', { transport: 'mmio' }],
  ])('is on %s with %o', (transport, options) => {
    expect(parseConfig({ ...GOOD, ...options })).toMatchObject({ transport })
  })
})

describe('options that are no plain object', () => {
  it.each(['cpuCount', 'constructor', 'toString', ''])('names the unknown option %j', (key) => {
    expect(errorOf({ ...GOOD, [key]: 1 })).toMatchObject({
      code: 'ERR_INVALID_OPTION',
      message: expect.stringContaining('no such option'),
      value: 1,
    })
  })

  it('leaves prototypes alone', () => {
    const options = JSON.parse('{"kernel":"vmlinuz","__proto__":{"polluted":1,"cpus":7}}')
    try {
      expect(parseConfig(options).cpus).toBe(1)
    } catch (error) {
      expect(error).toMatchObject({ code: 'ERR_INVALID_OPTION' })
    }
    expect('polluted' in {}).toBe(false)
  })

  it('reads every option once', () => {
    const reads: Record<string, number> = {}
    const source = { kernel: 'vmlinuz', cpus: 1, memory: '64M', commandLine: 'a', disks: [] }
    const options = new Proxy(source, {
      get(target, key, receiver) {
        reads[String(key)] = (reads[String(key)] ?? 0) + 1
        return Reflect.get(target, key, receiver)
      },
    })
    parseConfig(options)
    for (const key of Object.keys(source)) expect(reads[key], key).toBe(1)
  })

  it('tells of the value it has judged, not of a later one', () => {
    let reads = 0
    const error = errorOf({
      kernel: 'vmlinuz',
      get cpus() {
        return reads++ === 0 ? -5 : 1
      },
    })
    expect(error).toMatchObject({ option: 'cpus', value: -5 })
  })

  it('passes on what a getter throws', () => {
    const failure = new Error('from the getter')
    const options = {
      kernel: 'vmlinuz',
      get cpus(): number {
        throw failure
      },
    }
    expect(() => parseConfig(options)).toThrow(failure)
  })
})

describe('checkLimits', () => {
  it.each([9, 257, 65_536, 2 ** 31])('refuses %d vCPUs where KVM allows 8', (cpus) => {
    const config = parseConfig({ ...GOOD, cpus })
    expect(() => checkLimits(config, 8)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION', option: 'cpus', value: cpus }),
    )
  })

  it('refuses ids that KVM does not have', () => {
    // Three cores take two bits: the ids of the second socket begin at 4.
    const config = parseConfig({ ...GOOD, topology: { sockets: 2, cores: 3 } })
    expect(() => checkLimits(config, 6, 7)).not.toThrow()
    expect(() => checkLimits(config, 6, 6)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION', option: 'topology' }),
    )
  })

  it('takes as many as KVM allows', () => {
    expect(() => checkLimits(parseConfig({ ...GOOD, cpus: 8 }), 8)).not.toThrow()
  })
})

describe('the option agent', () => {
  it('brings a socket device along, and keeps one that is asked for', () => {
    expect(parseConfig({ ...GOOD, agent: true })).toMatchObject({
      agent: { startTimeout: 60_000 },
      vsock: { cid: 3, unixSocket: undefined },
    })
    expect(parseConfig({ ...GOOD, agent: { startTimeout: 5 }, vsock: { cid: 9 } })).toMatchObject({
      agent: { startTimeout: 5 },
      vsock: { cid: 9 },
    })
    expect(parseConfig({ ...GOOD, agent: false })).toMatchObject({ vsock: undefined })
  })

  it.each([
    [1, 'agent'],
    ['yes', 'agent'],
    [null, 'agent'],
    [{ startTimeout: 0 }, 'agent.startTimeout'],
    [{ startTimeout: 2 ** 31 }, 'agent.startTimeout'],
    [{ port: 1 }, 'agent.port'],
  ])('refuses %j', (agent, option) => {
    expect(errorOf({ ...GOOD, agent })).toMatchObject({ code: 'ERR_INVALID_OPTION', option })
  })
})
