import { describe, expect, it } from 'vitest'
import type { NativeStats } from '../../lib/binding.js'
import {
  KVM_DIRTY_GFN_F_DIRTY,
  KVM_DIRTY_GFN_F_RESET,
  KvmDirtyGfn,
} from '../../lib/kvm/abi/memory.js'
import { KvmStatsDesc, KvmStatsHeader } from '../../lib/kvm/abi/stats.js'
import { CoalescedRing } from '../../lib/kvm/coalesced-ring.js'
import { DirtyRing } from '../../lib/kvm/dirty-ring.js'
import { StatsFd } from '../../lib/kvm/stats-fd.js'

describe('CoalescedRing', () => {
  const START = 2 * 4096
  const CAPACITY = 170

  function ring() {
    const buffer = new ArrayBuffer(3 * 4096)
    const view = new DataView(buffer, START)
    const put = (address: bigint, length: number, pio: number) => {
      const last = view.getUint32(4, true)
      const at = 8 + last * 24
      view.setBigUint64(at, address, true)
      view.setUint32(at + 8, length, true)
      view.setUint32(at + 12, pio, true)
      view.setBigUint64(at + 16, 0x0807_0605_0403_0201n, true)
      view.setUint32(4, (last + 1) % CAPACITY, true)
    }
    return { view, put, ring: new CoalescedRing(buffer) }
  }

  it('gives writes in order, over the end of the ring', () => {
    const { put, ring: coalesced } = ring()
    for (let i = 0; i < 3 * CAPACITY; i++) {
      put(BigInt(i) << 32n, (i % 8) + 1, i % 2)
      expect(coalesced.take()).toEqual({
        space: i % 2 ? 'pio' : 'mmio',
        address: i * 2 ** 32,
        data: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8).subarray(0, (i % 8) + 1),
      })
      expect(coalesced.take()).toBeUndefined()
    }
  })

  it('stays inside the page whatever stands in it', () => {
    const { view, put, ring: coalesced } = ring()
    put(1n, 0xffff_ffff, 0)
    expect(coalesced.take()?.data.length).toBe(8)
    for (const index of [CAPACITY, CAPACITY + 5, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]) {
      view.setUint32(0, index, true)
      view.setUint32(4, 7, true)
      expect(() => coalesced.take()).not.toThrow()
    }
  })
})

describe('DirtyRing', () => {
  it('takes pages that are dirty, in order, and marks them for reset', () => {
    const buffer = new ArrayBuffer(4 * KvmDirtyGfn.size)
    const entry = (index: number) =>
      new KvmDirtyGfn(new Uint8Array(buffer, index * KvmDirtyGfn.size, KvmDirtyGfn.size))
    const ring = new DirtyRing(buffer)
    expect(ring.capacity).toBe(4)
    for (let i = 0; i < 10; i++) {
      expect(ring.take()).toBeUndefined()
      entry(i % 4).assign({ flags: KVM_DIRTY_GFN_F_DIRTY, slot: i, offset: i * 2 ** 33 })
      expect(ring.take()).toEqual({ slot: i, page: i * 2 ** 33 })
      expect(entry(i % 4).flags).toBe(KVM_DIRTY_GFN_F_RESET)
    }
  })
})

describe('StatsFd', () => {
  const NAME = 48

  function native(
    descriptions: {
      name: string
      flags: number
      exponent?: number
      values: bigint[]
      bucket?: number
    }[],
    change?: (bytes: Uint8Array) => void,
  ) {
    const dataOffset = KvmStatsHeader.size + NAME + descriptions.length * (KvmStatsDesc.size + NAME)
    const bytes = new Uint8Array(
      dataOffset + descriptions.reduce((sum, { values }) => sum + values.length * 8, 0),
    )
    new KvmStatsHeader(bytes).assign({
      name_size: NAME,
      num_desc: descriptions.length,
      id_offset: KvmStatsHeader.size,
      desc_offset: KvmStatsHeader.size + NAME,
      data_offset: dataOffset,
    })
    const text = (at: number, value: string) => bytes.set(new TextEncoder().encode(value), at)
    text(KvmStatsHeader.size, 'kvm-7/vcpu-0')
    let at = KvmStatsHeader.size + NAME
    let offset = 0
    for (const { name, flags, exponent = 0, values, bucket = 0 } of descriptions) {
      const size = values.length
      new KvmStatsDesc(bytes.subarray(at)).assign({
        flags,
        exponent,
        size,
        offset,
        bucket_size: bucket,
      })
      text(at + KvmStatsDesc.size, name)
      for (const value of values) {
        new DataView(bytes.buffer).setBigUint64(dataOffset + offset, value, true)
        offset += 8
      }
      at += KvmStatsDesc.size + NAME
    }
    change?.(bytes)
    let fd = 9
    const stats: NativeStats = {
      get fd() {
        return fd
      },
      read(from, into) {
        const part = bytes.subarray(from, from + into.length)
        into.set(part)
        return part.length
      },
      close() {
        fd = -1
      },
    }
    return stats
  }

  it('decodes types, units, exponents and histograms', () => {
    using stats = new StatsFd(
      native([
        { name: 'exits', flags: 0x000, values: [5n] },
        { name: 'halt_wait_ns', flags: 0x020, exponent: -9, values: [2n ** 63n] },
        { name: 'halt_wait_hist', flags: 0x024, exponent: -9, values: [1n, 2n, 3n] },
        { name: 'pages', flags: 0x111, exponent: 12, values: [7n] },
        { name: 'peak', flags: 0x032, values: [8n] },
        { name: 'blocking', flags: 0x041, values: [1n] },
        { name: 'linear', flags: 0x003, bucket: 10, values: [4n, 5n] },
        { name: 'new', flags: 0x0ff, values: [9n] },
      ]),
    )
    expect(stats.id).toBe('kvm-7/vcpu-0')
    const common = { bucketSize: 0, exponent: 0, base: 10 }
    expect(stats.read()).toEqual([
      { ...common, name: 'exits', type: 'cumulative', unit: 'none', values: [5n] },
      {
        ...common,
        name: 'halt_wait_ns',
        type: 'cumulative',
        unit: 'seconds',
        exponent: -9,
        values: [2n ** 63n],
      },
      {
        ...common,
        name: 'halt_wait_hist',
        type: 'log-histogram',
        unit: 'seconds',
        exponent: -9,
        values: [1n, 2n, 3n],
      },
      {
        ...common,
        name: 'pages',
        type: 'instant',
        unit: 'bytes',
        base: 2,
        exponent: 12,
        values: [7n],
      },
      { ...common, name: 'peak', type: 'peak', unit: 'cycles', values: [8n] },
      { ...common, name: 'blocking', type: 'instant', unit: 'boolean', values: [1n] },
      {
        ...common,
        name: 'linear',
        type: 'linear-histogram',
        unit: 'none',
        bucketSize: 10,
        values: [4n, 5n],
      },
      { ...common, name: 'new', type: 'unknown', unit: 'unknown', values: [9n] },
    ])
  })

  it.each([
    ['too many descriptions', { num_desc: 0xffff_ffff }],
    ['a name that never ends', { name_size: 0xffff_ffff }],
    ['descriptions past the end', { desc_offset: 0xffff_0000 }],
    ['an id past the end', { id_offset: 0xffff_0000 }],
  ])('refuses a header with %s', (_, header) => {
    const damaged = native([{ name: 'exits', flags: 0, values: [5n] }], (bytes) => {
      new KvmStatsHeader(bytes).assign(header)
    })
    using stats = new StatsFd(damaged)
    expect(() => stats.read()).toThrow(expect.objectContaining({ code: 'ERR_KVM_UNSUPPORTED' }))
  })
})
