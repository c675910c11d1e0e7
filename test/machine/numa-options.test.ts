import { describe, expect, it } from 'vitest'
import { hotMemoryRanges, MMIO_HOLE_START, ramRanges } from '../../lib/arch/x86-64/layout.js'
import { parseConfig } from '../../lib/machine/machine-config.js'
import { checkAddressable } from '../../lib/machine/machine-limits.js'
import type { VirtualMachineOptions } from '../../lib/machine/machine-options.js'
import { nodeRanges } from '../../lib/machine/numa-options.js'

const GIB = 2 ** 30
const parse = (options: Partial<VirtualMachineOptions>) =>
  parseConfig({ kernel: 'vmlinuz', ...options })
const numa = [
  { cpus: [0, 2], memory: '64M' },
  { cpus: [1], memory: '32M' },
]

describe('option numa', () => {
  it('gives the memory, and distances', () => {
    const config = parse({ numa, cpus: 3 })
    expect(config.memory).toBe(96 * 2 ** 20)
    expect(config.numa).toEqual([
      { cpus: [0, 2], memory: 2 ** 26, distances: [10, 20], host: undefined },
      { cpus: [1], memory: 2 ** 25, distances: [20, 10], host: undefined },
    ])
    expect(parse({ numa, cpus: 3, memory: '96M' }).memory).toBe(96 * 2 ** 20)
  })

  it('makes each node a socket, where their vCPUs are as many and in order', () => {
    const nodes = [
      [0, 1],
      [2, 3],
    ].map((cpus) => ({ cpus, memory: '64M' }))
    expect(parse({ numa: nodes })).toMatchObject({ cpus: 4, topology: { sockets: 2, cores: 2 } })
    expect(parse({ numa: nodes, topology: { cores: 4 } }).topology.sockets).toBe(1)
    expect(parse({ numa, cpus: 3 }).topology.sockets).toBe(1)
    expect(() => parse({ numa: nodes, cpus: 3 })).toThrow(/numa/)
    const mixed = [
      [0, 2],
      [1, 3],
    ].map((cpus) => ({ cpus, memory: '64M' }))
    expect(parse({ numa: mixed, cpus: 4 }).topology.sockets).toBe(1)
  })

  const [first, second] = numa as [object, object]
  it.each<[string, unknown]>([
    ['numa', { numa: {} }],
    ['numa', { numa: [] }],
    ['numa', { numa: Array.from({ length: 65 }, () => ({ memory: '4M' })) }],
    ['numa', { numa, cpus: 3, memory: '128M' }],
    ['numa', { numa, cpus: 4 }],
    ['numa[0].cpus', { numa, cpus: 2 }],
    ['numa[1].cpus', { numa: [first, { ...second, cpus: [1, 2] }], cpus: 3 }],
    ['numa[1].cpus[0]', { numa: [first, { ...second, cpus: [-1] }], cpus: 3 }],
    ['numa[0].memory', { numa: [{ cpus: [0], memory: '3M' }] }],
    ['numa[0].memory', { numa: [{ cpus: [0], memory: 2 ** 24 + 1 }] }],
    ['numa[0].memory', { numa: [{ cpus: [0] }] }],
    ['numa[0].size', { numa: [{ cpus: [0], memory: '64M', size: 1 }] }],
    ['numa[0].distances', { numa: [{ cpus: [0], memory: '64M', distances: [20] }] }],
    ['numa[0].distances', { numa: [{ cpus: [0], memory: '64M', distances: [10, 20] }] }],
    ['numa[1].distances', { numa: [first, { ...second, distances: [10, 10] }], cpus: 3 }],
    ['numa[0].host.nodes', { numa: [{ cpus: [0], memory: '64M', host: { nodes: [] } }] }],
    ['numa[0].host.policy', { numa: [{ memory: '64M', host: { nodes: [0], policy: 'near' } }] }],
    [
      'memory.numa',
      {
        numa: [{ cpus: [0], memory: '64M', host: { nodes: [0] } }],
        memory: { size: '64M', numa: { nodes: [0] } },
      },
    ],
    ['numa', { numa: [{ cpus: [0], memory: '64M' }], acpi: false }],
  ])('names %s as what is wrong (%#)', (option, options) => {
    expect(() => parse(options as Partial<VirtualMachineOptions>)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION', option }),
    )
  })

  it('splits RAM between its nodes, on both sides of the hole', () => {
    const nodes = [GIB, 3 * GIB, GIB / 2].map((memory) => ({ memory }))
    const ranges = nodeRanges(ramRanges(4.5 * GIB), nodes)
    expect(ranges).toEqual([
      { node: 0, guestAddress: 0, size: GIB },
      { node: 1, guestAddress: GIB, size: MMIO_HOLE_START - GIB },
      { node: 1, guestAddress: 4 * GIB, size: 4 * GIB - MMIO_HOLE_START },
      { node: 2, guestAddress: 8 * GIB - MMIO_HOLE_START, size: GIB / 2 },
    ])
  })
})

describe('option virtioMem', () => {
  it('is of whole blocks above all RAM', () => {
    expect(parse({ virtioMem: { maxSize: '1G' } }).virtioMem).toEqual({
      ...{ maxSize: GIB, size: 0, blockSize: 2 ** 21, node: 0 },
    })
    expect(hotMemoryRanges(2 ** 28, GIB)).toEqual([{ guestAddress: 4 * GIB, size: GIB }])
    expect(hotMemoryRanges(4 * GIB, 5 * GIB)).toEqual([
      { guestAddress: 6 * GIB, size: 4 * GIB },
      { guestAddress: 10 * GIB, size: GIB },
    ])
  })

  it('ends below what the processors address', () => {
    const config = parse({ virtioMem: { maxSize: '60G' } })
    checkAddressable(config, 36)
    expect(() => checkAddressable(config, 35)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION', option: 'virtioMem.maxSize' }),
    )
    checkAddressable(parse({}), 0)
  })

  it.each<[string, unknown]>([
    ['virtioMem', { virtioMem: '1G' }],
    ['virtioMem.maxSize', { virtioMem: {} }],
    ['virtioMem.maxSize', { virtioMem: { maxSize: '1M' } }],
    ['virtioMem.maxSize', { virtioMem: { maxSize: '129G' } }],
    ['virtioMem.maxSize', { virtioMem: { maxSize: '3M' } }],
    ['virtioMem.size', { virtioMem: { maxSize: '1G', size: '2G' } }],
    ['virtioMem.size', { virtioMem: { maxSize: '1G', size: '1M' } }],
    ['virtioMem.blockSize', { virtioMem: { maxSize: '1G', blockSize: '3M' } }],
    ['virtioMem.blockSize', { virtioMem: { maxSize: '4G', blockSize: '2G' } }],
    ['virtioMem.node', { virtioMem: { maxSize: '1G', node: 1 } }],
    ['virtioMem.target', { virtioMem: { maxSize: '1G', target: 1 } }],
    ['virtioMem', { virtioMem: { maxSize: '1G' }, acpi: false }],
    ['virtioMem', { virtioMem: { maxSize: '1G' }, memory: { size: '64M', locked: true } }],
    ['virtioMem', { virtioMem: { maxSize: '1G' }, memory: { size: '64M', kind: 'hugetlb-2M' } }],
  ])('names %s as what is wrong (%#)', (option, options) => {
    expect(() => parse(options as Partial<VirtualMachineOptions>)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION', option }),
    )
  })
})
