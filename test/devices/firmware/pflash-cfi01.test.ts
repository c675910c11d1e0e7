import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import * as pflash from '../../../lib/devices/firmware/pflash-cfi01.js'

const SIZE = 4 * pflash.PFLASH_BLOCK

describe('PflashCfi01', () => {
  let contents: Uint8Array
  let device: pflash.PflashCfi01
  let modes: boolean[]
  let changes: [number, number][]

  beforeEach(() => {
    contents = new Uint8Array(SIZE).fill(0xff)
    contents.set([0x12, 0x34, 0x56, 0x78])
    modes = []
    changes = []
    device = new pflash.PflashCfi01({
      bytes: contents,
      onArrayMode: (array) => modes.push(array),
      onChange: (offset, length) => changes.push([offset, length]),
    })
  })

  const command = (value: number, offset = 0) => device.write(offset, 1, value)

  it('gives its contents with every width', () => {
    const read = [device.read(0, 1), device.read(1, 2), device.read(0, 4)]
    expect(read).toEqual([0x12, 0x5634, 0x7856_3412])
    expect(device.read64(0)).toBe(0xffff_ffff_7856_3412n)
  })

  it('is taken for a flash by the way that OVMF looks', () => {
    command(pflash.PFLASH_CLEAR_STATUS)
    expect(device.read(0, 1)).toBe(0x12)
    command(pflash.PFLASH_READ_STATUS)
    expect(device.read(0, 1)).toBe(0)
    command(pflash.PFLASH_READ_ARRAY)
    expect(device.read(0, 1)).toBe(0x12)
    expect(modes).toEqual([false, true])
  })

  it('tells what it is', () => {
    command(pflash.PFLASH_READ_ID)
    expect([device.read(0, 1), device.read(1, 1)]).toEqual([0x89, 0x18])
    command(pflash.PFLASH_CFI_QUERY)
    const text = [0x10, 0x11, 0x12].map((offset) => String.fromCharCode(device.read(offset, 1)))
    expect(text.join('')).toBe('QRY')
    expect(device.read(0x27, 1)).toBe(Math.log2(SIZE))
    expect(device.read(0x2d, 2)).toBe(3)
    expect(device.read(0x2f, 2) * 256).toBe(pflash.PFLASH_BLOCK)
  })

  it('programs bytes, from 1 to 0 alone, and tells of them once it gives its contents again', () => {
    const bytes: [offset: number, value: number][] = [
      [0, 0xf0],
      [5, 0xab],
    ]
    for (const [offset, value] of bytes) {
      command(pflash.PFLASH_PROGRAM, offset)
      command(value, offset)
      expect(device.read(0, 1)).toBe(pflash.PFLASH_SR_READY)
    }
    expect(changes).toEqual([])
    command(pflash.PFLASH_READ_ARRAY)
    expect([contents[0], contents[5]]).toEqual([0x10, 0xab])
    expect(changes).toEqual([[0, 6]])
  })

  it('erases blocks, if it is confirmed', () => {
    contents.fill(0)
    command(pflash.PFLASH_BLOCK_ERASE, 5000)
    command(pflash.PFLASH_CONFIRM, 5000)
    expect(contents.subarray(4096, 8192).every((byte) => byte === 0xff)).toBe(true)
    expect([contents[4095], contents[8192]]).toEqual([0, 0])
    command(pflash.PFLASH_BLOCK_ERASE, 0)
    command(0x12, 0)
    expect(contents[0]).toBe(0)
    expect(device.read(0, 1)).toBe(0xb0)
  })

  it('programs a buffer, if it is confirmed', () => {
    for (const confirmation of [0, pflash.PFLASH_CONFIRM]) {
      command(pflash.PFLASH_WRITE_BUFFER, 0x100)
      expect(device.read(0, 1) & pflash.PFLASH_SR_READY).not.toBe(0)
      command(2)
      for (const [i, byte] of [1, 2, 3].entries()) command(byte, 0x100 + i)
      command(confirmation)
      const expected = confirmation === 0 ? [0xff, 0xff, 0xff] : [1, 2, 3]
      expect([...contents.subarray(0x100, 0x103)]).toEqual(expected)
    }
  })

  it('is reset to give its contents, with nothing lost', () => {
    command(pflash.PFLASH_PROGRAM, 9)
    command(0x11, 9)
    device.reset()
    expect(device.read(8, 2)).toBe(0x11ff)
    expect(changes).toEqual([[9, 1]])
    device.reset()
    expect(changes).toHaveLength(1)
  })

  it('takes any accesses, and tells of every change', () => {
    const values = Object.values(pflash).filter((value) => typeof value === 'number')
    const access = fc.record({
      offset: fc.nat(SIZE - 4),
      width: fc.constantFrom(1 as const, 2 as const, 4 as const),
      value: fc.oneof(fc.constantFrom(...values), fc.nat(0xffff_ffff)),
      write: fc.boolean(),
    })
    fc.assert(
      fc.property(fc.array(access, { maxLength: 60 }), (accesses) => {
        const bytes = new Uint8Array(SIZE).fill(0x5a)
        const copy = bytes.slice()
        const flash = new pflash.PflashCfi01({
          bytes,
          onChange: (offset, length) => copy.set(bytes.subarray(offset, offset + length), offset),
        })
        for (const { offset, width, value, write } of accesses) {
          if (write) flash.write(offset, width, value)
          else expect(flash.read(offset, width)).toBeLessThan(2 ** (8 * width))
        }
        flash.flush()
        expect(Buffer.compare(copy, bytes)).toBe(0)
      }),
    )
  })
})
