import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import {
  FW_CFG_DATA,
  FW_CFG_DMA,
  FW_CFG_DMA_CTL_ERROR,
  FW_CFG_DMA_CTL_READ,
  FW_CFG_DMA_CTL_SELECT,
  FW_CFG_DMA_CTL_SKIP,
  FW_CFG_DMA_CTL_WRITE,
  FW_CFG_FILE_DIR,
  FW_CFG_NB_CPUS,
  FW_CFG_PORTS,
  FW_CFG_SELECTOR,
  FwCfg,
} from '../../../lib/devices/firmware/fw-cfg.js'
import type { GuestMemory } from '../../../lib/memory/guest-memory.js'
import { guestRam } from '../../helpers/guest-ram.js'

const ACCESS = 0x1000
const DATA = 0x2000
const bytes = (text: string) => new TextEncoder().encode(text)

describe('FwCfg', () => {
  let memory: GuestMemory
  let device: FwCfg

  beforeEach(() => {
    memory = guestRam(0x10_0000)
    device = new FwCfg({
      memory,
      items: { [FW_CFG_NB_CPUS]: Uint8Array.of(3, 0) },
      files: { 'etc/b': bytes('second'), 'etc/a': bytes('first') },
    })
  })

  const select = (key: number) => device.write(FW_CFG_SELECTOR, 2, key)
  const read = (count: number) => Array.from({ length: count }, () => device.read(FW_CFG_DATA, 1))
  const swap = (value: number) => Buffer.from(Uint32Array.of(value).buffer).readUInt32BE()

  /** One transfer, and its control word afterwards. */
  function transfer(control: number, length: number, address: number, access = ACCESS): number {
    const there = memory.findRegion(access, 16) !== undefined
    if (there) {
      const view = memory.dataView(access, 16)
      view.setUint32(0, control)
      view.setUint32(4, length)
      view.setBigUint64(8, BigInt(address))
    }
    device.write(FW_CFG_DMA, 4, swap(Math.floor(access / 2 ** 32)))
    device.write(FW_CFG_DMA + 4, 4, swap(access % 2 ** 32))
    return there ? memory.dataView(access, 4).getUint32(0) : -1
  }
  const selecting = (key: number, control: number) =>
    key * 0x1_0000 + (control | FW_CFG_DMA_CTL_SELECT)

  it('gives items byte by byte, zeroes after their end and where there is none', () => {
    expect(Buffer.from(read(4)).toString()).toBe('QEMU')
    select(1)
    expect(read(6)).toEqual([3, 0, 0, 0, 0, 0])
    select(FW_CFG_NB_CPUS)
    expect(read(3)).toEqual([3, 0, 0])
    select(0x1234)
    expect(read(2)).toEqual([0, 0])
  })

  it('lists its files, sorted', () => {
    select(FW_CFG_FILE_DIR)
    const directory = Buffer.from(read(4 + 2 * 64))
    expect(directory.readUInt32BE(0)).toBe(2)
    const files = [0, 1].map((i) => {
      const entry = directory.subarray(4 + i * 64)
      select(entry.readUInt16BE(4))
      const name = entry.subarray(8, 64).toString('latin1').split('\0')[0]
      return [name, Buffer.from(read(entry.readUInt32BE(0))).toString()]
    })
    expect(files).toEqual([
      ['etc/a', 'first'],
      ['etc/b', 'second'],
    ])
  })

  it('tells that it knows DMA, and moves an item by it', () => {
    const signature = [device.read(FW_CFG_DMA, 4), device.read(FW_CFG_DMA + 4, 4)]
    expect(signature.map(swap)).toEqual([0x5145_4d55, 0x2043_4647])
    memory.fill(DATA, 8, 0xff)
    expect(transfer(selecting(0, FW_CFG_DMA_CTL_READ), 6, DATA)).toBe(0)
    expect(Buffer.from(memory.view(DATA, 8)).toString('latin1')).toBe('QEMU\0\0\xff\xff')
  })

  it('goes on where the last transfer ended, and skips', () => {
    expect(transfer(selecting(0x20, FW_CFG_DMA_CTL_SKIP), 2, 0)).toBe(0)
    expect(transfer(FW_CFG_DMA_CTL_READ, 2, DATA)).toBe(0)
    expect(Buffer.from(memory.view(DATA, 2)).toString()).toBe('rs')
    expect(read(1)).toEqual([0x74])
  })

  it.each<[what: string, control: number, length: number, address: number]>([
    ['to where there is no memory', FW_CFG_DMA_CTL_READ, 4, 0x10_0000],
    ['across the end of memory', FW_CFG_DMA_CTL_READ, 8, 0xf_fffc],
    ['to an address past 2^53', FW_CFG_DMA_CTL_READ, 8, 2 ** 60],
    ['of far more than there is', FW_CFG_DMA_CTL_READ, 0xffff_ffff, 0],
    ['that writes', FW_CFG_DMA_CTL_WRITE, 4, DATA],
  ])('a transfer %s fails', (_, control, length, address) => {
    const before = memory.view(DATA, 0x10_0000 - DATA).slice()
    expect(transfer(selecting(0, control), length, address)).toBe(FW_CFG_DMA_CTL_ERROR)
    expect(Buffer.compare(memory.view(DATA, before.length), before)).toBe(0)
  })

  it('does nothing for a structure that is not in memory', () => {
    expect(transfer(selecting(0, FW_CFG_DMA_CTL_READ), 4, DATA, 2 ** 40)).toBe(-1)
    expect(transfer(selecting(0, FW_CFG_DMA_CTL_READ), 4, DATA, 0xf_fff8)).toBe(-1)
    expect([...memory.view(DATA, 4)]).toEqual([0, 0, 0, 0])
  })

  it('refuses a file name that is too long', () => {
    const files = { ['x'.repeat(56)]: new Uint8Array() }
    expect(() => new FwCfg({ memory, files })).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION', option: 'files' }),
    )
  })

  it('takes any accesses', () => {
    const access = fc.record({
      offset: fc.nat(FW_CFG_PORTS - 1),
      width: fc.constantFrom(1 as const, 2 as const, 4 as const),
      value: fc.oneof(fc.nat(0xffff_ffff), fc.constantFrom(swap(ACCESS), 0x19, 0x20)),
      write: fc.boolean(),
    })
    memory.fill(ACCESS, 16, 0x1a)
    fc.assert(
      fc.property(fc.array(access, { maxLength: 50 }), (accesses) => {
        for (const { offset, width, value, write } of accesses) {
          if (write) device.write(offset, width, value)
          else expect(device.read(offset, width)).toBeLessThan(2 ** (8 * width))
        }
      }),
    )
  })
})
