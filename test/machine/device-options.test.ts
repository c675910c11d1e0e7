import { describe, expect, it } from 'vitest'
import type { VirtualMachineOptions } from '../../lib/index.js'
import { parseConfig } from '../../lib/machine/machine-config.js'

const backend = { open: async () => {}, close: async () => {} } as never
const parse = (options: object) =>
  parseConfig({ kernel: 'vmlinuz', ...options } as VirtualMachineOptions)

describe('disks and nets', () => {
  it('are backends, or objects with one', () => {
    const rateLimit = { operations: { perSecond: 100 }, bytes: { perSecond: 1e6, burst: 4e6 } }
    const config = parse({
      disks: [backend, { backend, queues: 4, rateLimit, pollMicroseconds: 0 }],
      nets: [backend, { backend, link: false, transmitLimit: {}, receiveLimit: rateLimit }],
    })
    expect(config.disks).toEqual([
      { backend, queues: 1, rateLimit: undefined, pollMicroseconds: 20 },
      { backend, queues: 4, rateLimit, pollMicroseconds: 0 },
    ])
    expect(config.nets).toEqual([
      { backend, transmitLimit: undefined, receiveLimit: undefined, link: true },
      { backend, transmitLimit: {}, receiveLimit: rateLimit, link: false },
    ])
    expect(config.disks[0]?.backend).toBe(backend)
  })

  it('keep their limits when the caller changes them', () => {
    const rateLimit = { bytes: { perSecond: 1 } }
    const config = parse({ disks: [{ backend, rateLimit }] })
    rateLimit.bytes.perSecond = NaN
    expect(config.disks[0]?.rateLimit?.bytes?.perSecond).toBe(1)
  })

  const disk = (options: object) => ({ disks: [backend, { backend, ...options }] })
  const net = (options: object) => ({ nets: [{ backend, ...options }] })
  it.each<[option: string, options: object, value: unknown]>([
    ['disks[0].backend', { disks: [{ backend: 'x' }] }, 'x'],
    ['disks[0].backend', { disks: [{ backend: undefined }] }, undefined],
    ['disks[1].queues', disk({ queues: 0 }), 0],
    ['disks[1].queues', disk({ queues: 17 }), 17],
    ['disks[1].pollMicroseconds', disk({ pollMicroseconds: 1001 }), 1001],
    ['disks[1].queues', disk({ queues: '2' }), '2'],
    ['disks[1].queue', disk({ queue: 2 }), 2],
    ['disks[1].rateLimit', disk({ rateLimit: null }), null],
    ['disks[1].rateLimit', disk({ rateLimit: 100 }), 100],
    ['disks[1].rateLimit.iops', disk({ rateLimit: { iops: 1 } }), 1],
    ['disks[1].rateLimit.bytes', disk({ rateLimit: { bytes: 5 } }), 5],
    ['disks[1].rateLimit.bytes.perSecond', disk({ rateLimit: { bytes: {} } }), undefined],
    [
      'disks[1].rateLimit.operations.burst',
      disk({ rateLimit: { operations: { perSecond: 1, burst: -1 } } }),
      -1,
    ],
    ['nets[0].backend', { nets: [{ backend: null }] }, null],
    ['nets[0].link', net({ link: 1 }), 1],
    ['nets[0].mtu', net({ mtu: 1500 }), 1500],
    ['nets[0].transmitLimit', net({ transmitLimit: [] }), expect.anything()],
    ['nets[0].receiveLimit.bytes.perSecond', net({ receiveLimit: { bytes: { perSecond: 0 } } }), 0],
  ])('name %s as what is wrong', (option, options, value) => {
    expect(() => parse(options)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION', option, value }),
    )
  })
})

describe('virtioConsole and balloon', () => {
  it('are completed', () => {
    expect(parse({ virtioConsole: {}, balloon: {} })).toMatchObject({
      virtioConsole: { ports: [] },
      balloon: { deflateOnOom: true },
    })
  })

  it.each<[option: string, options: object]>([
    ['virtioConsole.ports', { virtioConsole: { ports: 'agent' } }],
    ['virtioConsole.ports[1]', { virtioConsole: { ports: ['agent', 'an agent'] } }],
    ['virtioConsole.ports[0]', { virtioConsole: { ports: [''] } }],
    ['virtioConsole.ports', { virtioConsole: { ports: ['agent', 'agent'] } }],
    ['virtioConsole.ports', { virtioConsole: { ports: Array.from({ length: 31 }, String) } }],
    ['virtioConsole.port', { virtioConsole: { port: 'agent' } }],
    ['balloon.deflateOnOom', { balloon: { deflateOnOom: 'yes' } }],
    ['balloon.target', { balloon: { target: 4096 } }],
  ])('name %s as what is wrong (%#)', (option, options) => {
    expect(() => parse(options)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION', option }),
    )
  })
})
