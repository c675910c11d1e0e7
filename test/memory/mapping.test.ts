import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { binding } from '../../lib/binding.js'
import { createGuestMemory } from '../../lib/memory/mapping.js'
import { mappings } from '../helpers/process-state.js'

const invalid = (option: string) => expect.objectContaining({ code: 'ERR_INVALID_OPTION', option })

describe('createGuestMemory', () => {
  it('gives zeroed memory by region, shared with native code', () => {
    const memory = createGuestMemory([
      { guestAddress: 2 ** 32, size: 0x2000 },
      { guestAddress: 0, size: 0x1000 },
    ])
    expect(memory.size).toBe(0x3000)
    expect(memory.read(2 ** 32, 0x2000).every((byte) => byte === 0)).toBe(true)
    memory.write(2 ** 32 + 1, Uint8Array.of(7))
    expect(memory.regions[1]!.bytes[1]).toBe(7)
    memory.close()
    expect(memory.regions[1]!.bytes.length).toBe(0)
  })

  it('takes nothing from the host before it is touched', () => {
    const rss = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))![1])
    const before = rss()
    const memory = createGuestMemory([{ guestAddress: 0, size: 2 ** 32 }])
    expect(rss() - before).toBeLessThan(64 * 1024)
    memory.write(2 ** 32 - 1, Uint8Array.of(1))
    expect(memory.read(2 ** 32 - 2, 2)).toEqual(Uint8Array.of(0, 1))
    memory.close()
  })

  it('may come from nodes of the host, in part', () => {
    const mapping = new (binding().Mapping)(0x4000)
    const nodes = Uint32Array.of(0)
    mapping.bind('bind', nodes)
    mapping.bind('interleave', nodes, 0x1000, 0x2000)
    expect(() => mapping.bind('bind', nodes, 0x1000, 0x4000)).toThrow(invalid('length'))
    expect(() => mapping.bind('bind', nodes, 0x5000, 0)).toThrow(invalid('offset'))
    expect(() => mapping.bind('near' as never, nodes)).toThrow(invalid('policy'))
    expect(() => mapping.bind('bind', nodes, 1, 0x1000)).toThrow(
      expect.objectContaining({ code: 'EINVAL', syscall: 'mbind' }),
    )
    mapping.close()
  })

  it('is left out of core dumps and of child processes', () => {
    const memory = createGuestMemory([{ guestAddress: 0, size: 0x1000 }], { name: 'mapping-flags' })
    const smaps = readFileSync('/proc/self/smaps', 'utf8')
    const flags = /mapping-flags[\s\S]*?VmFlags:(.*)/.exec(smaps)![1]!
    expect(flags).toContain(' dd ')
    expect(flags).toContain(' dc ')
    memory.close()
  })

  it('notices a write past either end, with canaries', () => {
    const memory = createGuestMemory([{ guestAddress: 0, size: 0x1000 }], { canaries: true })
    expect(memory.canariesIntact()).toBe(true)
    memory.fill(0, 0x1000, 0xff)
    expect(memory.canariesIntact()).toBe(true)
    memory.close()
  })

  it('gives pages back to the host', () => {
    for (const kind of ['memfd', 'anonymous'] as const) {
      const mapping = new (binding().Mapping)(0x3000, { kind })
      const bytes = new Uint8Array(mapping.buffer(0, 0x3000)).fill(1)
      mapping.discard(0x1000, 0x1000)
      expect([bytes[0xfff], bytes[0x1000], bytes[0x1fff], bytes[0x2000]]).toEqual([1, 0, 0, 1])
      expect(() => mapping.discard(1, 0x1000)).toThrow(invalid('offset'))
      expect(() => mapping.discard(0, 1)).toThrow(invalid('length'))
      expect(() => mapping.discard(0x1000, 0x3000)).toThrow(invalid('length'))
      mapping.close()
    }
  })

  it.each([
    ['regions[0].guestAddress', [{ guestAddress: 1, size: 4096 }]],
    ['regions[0].guestAddress', [{ guestAddress: -4096, size: 4096 }]],
    ['regions[0].guestAddress', [{ guestAddress: 2 ** 53, size: 4096 }]],
    ['regions[0].guestAddress', [{ guestAddress: '0', size: 4096 }]],
    ['regions[0].size', [{ guestAddress: 0, size: 0 }]],
    ['regions[0].size', [{ guestAddress: 0, size: 4097 }]],
    ['regions[0].size', [{ guestAddress: 0, size: Number.NaN }]],
    [
      'regions[1].size',
      [
        { guestAddress: 0, size: 4096 },
        { guestAddress: 4096, size: 2 ** 33 },
      ],
    ],
    ['regions[0].size', [{ guestAddress: 0, size: 4096n }]],
  ])('refuses %s (%#)', (option, regions) => {
    const before = mappings('node-kvm-guest-memory')
    expect(() => createGuestMemory(regions as never)).toThrow(invalid(option))
    expect(mappings('node-kvm-guest-memory')).toBe(before)
  })

  it.each([
    ['kind', { kind: 'file' }],
    ['kind', { kind: 7 }],
    ['hugePageSize', { hugePageSize: 4096 }],
    ['hugePageSize', { hugePageSize: '2M' }],
    ['name', { name: 'a\0b' }],
    ['name', { name: 'x'.repeat(250) }],
    ['canaries', { canaries: 1 }],
    ['options', 7],
    ['size', { hugePageSize: 2 ** 21 }],
  ])('refuses the option %s (%#)', (option, options) => {
    expect(() => new (binding().Mapping)(4096, options as never)).toThrow(invalid(option))
  })

  it('passes on an exception of an option that is a getter', () => {
    const options = {
      get name(): string {
        throw new RangeError('mine')
      },
    }
    expect(() => new (binding().Mapping)(4096, options)).toThrow(RangeError)
  })

  it('reports what the host refuses as KvmError', () => {
    expect(() => new (binding().Mapping)(2 ** 52)).toThrow(
      expect.objectContaining({ name: 'KvmError' }),
    )
  })

  it('says when the host has no huge pages for it', () => {
    // No machine that runs tests keeps a page of 1 GiB free.
    const options = { hugePageSize: 2 ** 30 } as const
    expect(() => new (binding().Mapping)(2 ** 40, options)).toThrow(
      expect.objectContaining({ code: 'ENOMEM', message: expect.stringContaining('huge pages') }),
    )
  })

  it('gives the same ArrayBuffer for the same range, and bounds every range', () => {
    const mapping = new (binding().Mapping)(0x2000)
    expect(mapping.buffer(0, 0x1000)).toBe(mapping.buffer(0, 0x1000))
    expect(mapping.buffer(0, 0x1000)).not.toBe(mapping.buffer(0, 0x2000))
    for (const [offset, length] of [
      [0, 0x2001],
      [0x2000, 1],
      [-1, 1],
      [0x1000, 0x1001],
      [0.5, 1],
      [2 ** 53, 1],
    ] as const) {
      expect(() => mapping.buffer(offset, length)).toThrow(
        expect.objectContaining({ code: 'ERR_INVALID_OPTION' }),
      )
    }
    expect(mapping.buffer(0x2000, 0).byteLength).toBe(0)
    mapping.close()
    mapping.close()
    expect(mapping.size).toBe(0)
  })
})

describe('AddressSpace', () => {
  it('refuses ranges that overlap, exceed their mapping, or wrap', () => {
    const space = new (binding().AddressSpace)()
    const mapping = new (binding().Mapping)(0x2000)
    space.add(0x10000, 0x2000, mapping, 0)
    expect(() => space.add(0x11000, 0x1000, mapping, 0)).toThrow(invalid('guestAddress'))
    expect(() => space.add(0xf000, 0x1001, mapping, 0)).toThrow(invalid('guestAddress'))
    expect(() => space.add(0x20000, 0x2001, mapping, 0)).toThrow(invalid('size'))
    expect(() => space.add(0x20000, 0x2000, mapping, 1)).toThrow(invalid('offset'))
    expect(() => space.add(2 ** 53 - 1, 0x1000, mapping, 0)).toThrow(invalid('size'))
    space.add(0x12000, 0x1000, mapping, 0x1000)
    space.close()
    space.close()
    expect(() => space.add(0, 0x1000, mapping, 0)).toThrow(
      expect.objectContaining({ code: 'ERR_CLOSED' }),
    )
    mapping.close()
  })
})
