import { describe, expect, it } from 'vitest'
import {
  BOOT_PAGE_TABLES_START,
  COMMAND_LINE_START,
  ZERO_PAGE_START,
} from '../../lib/arch/x86-64/layout.js'
import * as setup from '../../lib/boot/linux-setup.js'
import type { GuestMemory } from '../../lib/memory/guest-memory.js'
import { type BootOptions, boot, failureOf, MIB } from '../helpers/boot.js'
import { type BzImageOptions, bzImage } from '../helpers/kernel-images.js'

const zeroPage = (memory: GuestMemory) => memory.dataView(ZERO_PAGE_START, 4096)

function text(memory: GuestMemory, address: number): string {
  const bytes = memory.read(address, 4096)
  return new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)))
}

describe('a bzImage', () => {
  const code = Uint8Array.of(0xb0, 0x42, 0xf4)

  it('is put at its preferred address and entered in long mode', () => {
    const { memory, entry } = boot(bzImage({ code }))
    expect(entry).toMatchObject({ rip: 0x100_0200n, rsi: BigInt(ZERO_PAGE_START) })
    expect(entry.cs).toMatchObject({ l: 1, db: 0, selector: 0x10 })
    expect(entry.data).toMatchObject({ selector: 0x18, type: 3 })
    expect(entry.cr3).toBe(BigInt(BOOT_PAGE_TABLES_START))
    expect(entry.cr0 & 0x8000_0001n).toBe(0x8000_0001n)
    expect(entry.cr4).toBe(0x20n)
    expect(entry.efer).toBe(0x500n)
    expect(memory.read(Number(entry.rip), 3)).toEqual(code)
  })

  it.each([0, 1, 4, 39, 255])('is found behind %i setup sectors', (setupSects) => {
    const { memory, entry } = boot(bzImage({ code, setupSects }))
    expect(memory.read(Number(entry.rip), 3)).toEqual(code)
  })

  it('gives the kernel its own setup header back, and says who loaded it', () => {
    const image = bzImage({ fields: { [setup.SETUP_DATA]: 0x1234n, 532: 0x10_0000 } })
    const { memory } = boot(image, { rsdp: 0xe_0000 })
    const page = zeroPage(memory)
    expect(page.getUint32(setup.HEADER, true)).toBe(setup.HEADER_MAGIC)
    expect(page.getUint16(setup.VERSION, true)).toBe(0x20f)
    expect(page.getUint32(0x214, true)).toBe(0x10_0000)
    expect(page.getUint32(setup.INIT_SIZE, true)).toBe(0x10_0000)
    expect(page.getUint8(setup.TYPE_OF_LOADER)).toBe(0xff)
    expect(page.getUint8(setup.LOADFLAGS) & 1).toBe(1)
    expect(page.getBigUint64(setup.SETUP_DATA, true)).toBe(0n)
    expect(page.getBigUint64(setup.ACPI_RSDP_ADDR, true)).toBe(0xe_0000n)
    // Not zero if a loader has copied too much (zero-page.rst, sentinel).
    expect(page.getUint8(0x1ef)).toBe(0)
  })

  it('writes a whole zero page, whatever was there', () => {
    const { memory } = boot(bzImage())
    memory.fill(ZERO_PAGE_START, 4096, 0xee)
    boot(bzImage(), { memory })
    expect([...memory.read(ZERO_PAGE_START, 0x70)]).toEqual(Array(0x70).fill(0))
    expect([...memory.read(ZERO_PAGE_START + 0xcd0, 0x330)]).toEqual(Array(0x330).fill(0))
  })

  it('gives out all memory but what a PC reserves', () => {
    const map = (memory: GuestMemory) => {
      const page = zeroPage(memory)
      return Array.from({ length: page.getUint8(setup.E820_ENTRIES) }, (_, i) => {
        const at = setup.E820_TABLE + i * 20
        const [start, size] = [page.getBigUint64(at, true), page.getBigUint64(at + 8, true)]
        return [Number(start), Number(start + size), page.getUint32(at + 16, true)]
      })
    }
    expect(map(boot(bzImage(), { memory: 32 * MIB }).memory)).toEqual([
      [0, 0x9_fc00, 1],
      [0x9_fc00, 0x10_0000, 2],
      [0x10_0000, 32 * MIB, 1],
    ])
  })

  it('gets its command line', () => {
    const { memory } = boot(bzImage(), { commandLine: ['console=ttyS0 quiet', '', 'a=b'] })
    expect(zeroPage(memory).getUint32(setup.CMD_LINE_PTR, true)).toBe(COMMAND_LINE_START)
    expect(text(memory, COMMAND_LINE_START)).toBe('console=ttyS0 quiet a=b')
  })

  it('may have a command line as long as it says, and no longer', () => {
    const image = bzImage({ fields: { [setup.CMDLINE_SIZE]: 255 } })
    const { memory } = boot(image, { commandLine: ['x'.repeat(255)] })
    expect(text(memory, COMMAND_LINE_START)).toBe('x'.repeat(255))
    expect(
      failureOf(() => boot(image, { commandLine: ['x'.repeat(250), 'y'.repeat(5)] })),
    ).toMatchObject({
      code: 'ERR_COMMAND_LINE',
      option: 'commandLine',
      expected: 'at most 255, which is what this kernel takes',
    })
  })

  it('has a command line within its place even if it would take more', () => {
    const image = bzImage({ fields: { [setup.CMDLINE_SIZE]: 0xffff_ffff } })
    expect(() => boot(image, { commandLine: ['x'.repeat(0xffff)] })).not.toThrow()
    expect(() => boot(image, { commandLine: ['x'.repeat(0x1_0000)] })).toThrow(
      expect.objectContaining({ code: 'ERR_COMMAND_LINE' }),
    )
  })
})

describe('an initrd beside a bzImage', () => {
  const initrd = Uint8Array.from({ length: 5000 }, (_, i) => i % 253)

  function placed(options: BootOptions, image = bzImage()): { address: number; size: number } {
    const { memory } = boot(image, options)
    const page = zeroPage(memory)
    const address = page.getUint32(setup.RAMDISK_IMAGE, true)
    const size = page.getUint32(setup.RAMDISK_SIZE, true)
    if (options.initrd instanceof Uint8Array) {
      expect(Buffer.compare(memory.view(address, size), options.initrd)).toBe(0)
    }
    return { address, size }
  }

  it('is as high as fits, on a page', () => {
    expect(placed({ initrd })).toEqual({ address: 32 * MIB - 8192, size: 5000 })
    expect(placed({ initrd: initrd.subarray(0, 4096) })).toEqual({
      address: 32 * MIB - 4096,
      size: 4096,
    })
  })

  it('is below initrd_addr_max', () => {
    const image = bzImage({ fields: { [setup.INITRD_ADDR_MAX]: 0x17f_ffff } })
    expect(placed({ initrd }, image)).toEqual({ address: 0x180_0000 - 8192, size: 5000 })
    const odd = bzImage({ fields: { [setup.INITRD_ADDR_MAX]: 0x17f_f123 } })
    expect(placed({ initrd }, odd)).toEqual({ address: 0x17f_d000, size: 5000 })
    const highest = bzImage({ fields: { [setup.INITRD_ADDR_MAX]: 0xffff_ffff } })
    expect(placed({ initrd }, highest)).toEqual({ address: 32 * MIB - 8192, size: 5000 })
  })

  it('is absent unless given', () => {
    expect(placed({})).toEqual({ address: 0, size: 0 })
  })

  // The kernel takes 1 MiB from 16 MiB on.
  it('may fill all that the kernel leaves, and no more', () => {
    expect(placed({ initrd: new Uint8Array(15 * MIB) })).toEqual({
      address: 17 * MIB,
      size: 15 * MIB,
    })
    expect(failureOf(() => placed({ initrd: new Uint8Array(15 * MIB + 1) }))).toMatchObject({
      code: 'ERR_INITRD',
      option: 'initrd',
      value: 15 * MIB + 1,
      expected: `at most ${15 * MIB}, which is what this kernel leaves of ${32 * MIB} bytes of memory`,
    })
  })

  it.each([0, 0xfff, 0x100_0000, 0x110_0fff])('has no room below 0x%s', (ceiling) => {
    const image = bzImage({ fields: { [setup.INITRD_ADDR_MAX]: ceiling } })
    expect(failureOf(() => placed({ initrd }, image))).toMatchObject({ code: 'ERR_INITRD' })
  })

  it('is not empty', () => {
    expect(failureOf(() => placed({ initrd: new Uint8Array(0) }))).toMatchObject({
      code: 'ERR_INITRD',
      value: 0,
    })
  })
})

describe('a bad bzImage', () => {
  const refused = (options: BzImageOptions, more?: BootOptions) =>
    failureOf(() => boot(bzImage(options), more))

  it.each<[string, number, readonly (number | bigint)[]]>([
    ['boot_flag', setup.BOOT_FLAG, [0, 0x55aa]],
    ['version', setup.VERSION, [0, 0x200, 0x20b]],
    ['loadflags', setup.LOADFLAGS, [0, 0xfe]],
    ['xloadflags', setup.XLOADFLAGS, [0, 2]],
    ['an end at', setup.JUMP_OFFSET, [0, 0x61]],
    [
      'kernel_alignment',
      setup.KERNEL_ALIGNMENT,
      [0, 1, 3, 0x800, 0x20_0001, 0x8000_0000, 0xffff_ffff],
    ],
    [
      'pref_address',
      setup.PREF_ADDRESS,
      [0n, 0x7000n, 0xf_ffffn, 0x100_0001n, 0x1_0000_0000n, 2n ** 63n, 2n ** 64n - 1n],
    ],
    ['init_size', setup.INIT_SIZE, [0]],
  ])('has a wrong %s', (name, offset, values) => {
    for (const value of values) {
      const error = refused({ fields: { [offset]: value } })
      expect(error).toMatchObject({ code: 'ERR_KERNEL_IMAGE', option: 'kernel' })
      expect(error.message).toContain(`kernel has ${name} 0x`)
    }
  })

  it.each([0xfff_0000, 0x100_0001 + 15 * MIB, 0xffff_ffff])(
    'needs too much memory: %i bytes',
    (size) => {
      const error = refused({ fields: { [setup.INIT_SIZE]: size } })
      expect(error).toMatchObject({ code: 'ERR_KERNEL_IMAGE', value: size })
      expect(error.expected).toBe(`at most ${16 * MIB}, the memory that is there`)
    },
  )

  it('is larger than the memory, whatever its init_size says', () => {
    const error = refused({ kernelSize: 17 * MIB, fields: { [setup.INIT_SIZE]: 4096 } })
    expect(error).toMatchObject({ code: 'ERR_KERNEL_IMAGE', value: 17 * MIB })
  })

  it('cannot be moved, and its address is taken', () => {
    const fixed = { [setup.RELOCATABLE_KERNEL]: 0 }
    expect(boot(bzImage({ fields: fixed })).entry.rip).toBe(0x100_0200n)
    const beyond = refused({ fields: { ...fixed, [setup.PREF_ADDRESS]: 0x200_0000n } })
    expect(beyond.message).toContain('from 0x2000000 on')
    const overTables = refused({ fields: { ...fixed, [setup.PREF_ADDRESS]: 0x7000n } })
    expect(overTables.message).toContain('pref_address 0x7000')
  })

  it('prefers an address beyond the memory', () => {
    const error = refused({ fields: { [setup.PREF_ADDRESS]: 0xffe0_0000n } })
    expect(error.message).toContain('from 0xffe00000 on')
  })

  it('is cut off, anywhere', () => {
    const image = bzImage({ setupSects: 2 })
    const lengths = [0x206, 0x20f, 0x25f, 0x263, 0x264, 0x5ff, 0x600, 0x7ff, 0x800, 0x801]
    for (const length of [...lengths, image.length - 16]) {
      const error = failureOf(() => boot(image.slice(0, length)))
      expect(error).toMatchObject({ code: 'ERR_KERNEL_IMAGE', value: length })
      expect(error.message).toContain('is cut off')
    }
    expect(() => boot(image)).not.toThrow()
    // What signing tools append is no harm.
    expect(() => boot(new Uint8Array([...image, ...new Uint8Array(1000)]))).not.toThrow()
  })

  it('claims setup sectors beyond its end', () => {
    const image = bzImage({ setupSects: 1 })
    image[setup.SETUP_SECTS] = 255
    expect(failureOf(() => boot(image)).message).toContain('is cut off')
  })

  it('cannot overlay the memory map with a header that is too long', () => {
    const image = bzImage({ setupSects: 2, fields: { [setup.JUMP_OFFSET]: 0xff } })
    image.fill(0xaa, 0x264, 0x301)
    const { memory } = boot(image)
    const page = zeroPage(memory)
    expect(page.getUint8(setup.E820_ENTRIES)).toBe(3)
    for (let at = 0x290; at < setup.E820_TABLE; at++) expect(page.getUint8(at)).toBe(0)
  })
})
