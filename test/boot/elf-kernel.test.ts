import { describe, expect, it } from 'vitest'
import {
  BOOT_INFO_START,
  COMMAND_LINE_START,
  ZERO_PAGE_START,
} from '../../lib/arch/x86-64/layout.js'
import * as setup from '../../lib/boot/linux-setup.js'
import { boot, failureOf, MIB } from '../helpers/boot.js'
import {
  ELF_ADDRESS,
  type ElfOptions,
  elfImage,
  elfNote,
  HLT,
  PT_NOTE,
  pvhImage,
  pvhNote,
  type SegmentOptions,
  XEN_ELFNOTE_PHYS32_ENTRY,
} from '../helpers/kernel-images.js'

const initrd = Uint8Array.from({ length: 5000 }, (_, i) => i % 253)

describe('an ELF kernel', () => {
  it('without a PVH note starts by the 64-bit protocol of Linux', () => {
    const { memory, entry } = boot(elfImage(), {
      initrd,
      commandLine: ['quiet'],
      rsdp: 0xe_0000,
    })
    expect(entry).toMatchObject({ rip: BigInt(ELF_ADDRESS), rsi: BigInt(ZERO_PAGE_START) })
    expect(entry.cs.l).toBe(1)
    expect(memory.read(ELF_ADDRESS, 1)).toEqual(HLT)
    const page = memory.dataView(ZERO_PAGE_START, 4096)
    expect(page.getUint32(setup.HEADER, true)).toBe(setup.HEADER_MAGIC)
    expect(page.getUint8(setup.TYPE_OF_LOADER)).toBe(0xff)
    expect(page.getUint32(setup.CMD_LINE_PTR, true)).toBe(COMMAND_LINE_START)
    expect(page.getBigUint64(setup.ACPI_RSDP_ADDR, true)).toBe(0xe_0000n)
    expect(page.getUint8(setup.E820_ENTRIES)).toBe(3)
    const at = page.getUint32(setup.RAMDISK_IMAGE, true)
    expect(memory.read(at, page.getUint32(setup.RAMDISK_SIZE, true))).toEqual(initrd)
  })

  it('has every segment where it wants it, and zeros behind what the file gives', () => {
    const segments = [
      { bytes: Uint8Array.of(1, 2, 3), paddr: 20 * MIB, memsz: 100 },
      { bytes: HLT, paddr: ELF_ADDRESS },
      { bytes: new Uint8Array(0), paddr: 21 * MIB, memsz: MIB },
      { bytes: new Uint8Array(0), paddr: 0 },
    ]
    const image = elfImage({ segments })
    const { memory } = boot(image)
    memory.fill(MIB, 31 * MIB, 0xee)
    boot(image, { memory })
    expect(memory.read(ELF_ADDRESS, 2)).toEqual(Uint8Array.of(0xf4, 0xee))
    expect(memory.read(20 * MIB - 1, 4)).toEqual(Uint8Array.of(0xee, 1, 2, 3))
    expect(memory.read(20 * MIB + 3, 98)).toEqual(Uint8Array.from([...new Uint8Array(97), 0xee]))
    expect(memory.view(21 * MIB, MIB).every((byte) => byte === 0)).toBe(true)
    expect(memory.read(22 * MIB, 1)).toEqual(Uint8Array.of(0xee))
  })

  it('leaves room for the initrd behind its last segment', () => {
    const image = elfImage({ segments: [{ bytes: HLT, memsz: 12 * MIB }] })
    expect(() => boot(image, { initrd: new Uint8Array(4 * MIB) })).not.toThrow()
    expect(failureOf(() => boot(image, { initrd: new Uint8Array(4 * MIB + 1) }))).toMatchObject({
      code: 'ERR_INITRD',
      value: 4 * MIB + 1,
    })
  })

  it('takes a command line as long as Linux does', () => {
    expect(() => boot(elfImage(), { commandLine: ['x'.repeat(2047)] })).not.toThrow()
    expect(failureOf(() => boot(elfImage(), { commandLine: ['x'.repeat(2048)] }))).toMatchObject({
      code: 'ERR_COMMAND_LINE',
    })
  })
})

describe('a PVH kernel', () => {
  it.each([32, 64] as const)('in a %i-bit ELF starts in protected mode', (bits) => {
    const { memory, entry } = boot(pvhImage({ bits, entry: 0 }))
    expect(entry).toMatchObject({ rip: BigInt(ELF_ADDRESS), rbx: BigInt(BOOT_INFO_START) })
    expect([entry.cr0, entry.cr3, entry.cr4, entry.efer]).toEqual([0x11n, 0n, 0n, 0n])
    expect(entry.cs).toMatchObject({ l: 0, db: 1, base: 0n, limit: 0xffff_ffff, type: 0xb })
    expect(entry.data).toMatchObject({ base: 0n, limit: 0xffff_ffff, type: 3 })
    expect(entry.tr).toMatchObject({ base: 0n, limit: 0x67, type: 0xb })
    expect(memory.read(ELF_ADDRESS, 1)).toEqual(HLT)
  })

  it('finds command line, initrd, RSDP and memory map by the start info', () => {
    const { memory } = boot(pvhImage(), { initrd, commandLine: ['a', 'b'], rsdp: 0xe_0000 })
    const info = memory.dataView(BOOT_INFO_START, 56)
    const u64 = (offset: number) => Number(info.getBigUint64(offset, true))
    expect(info.getUint32(0, true)).toBe(0x336e_c578)
    expect(info.getUint32(4, true)).toBe(1)
    expect(info.getUint32(8, true)).toBe(0)
    expect(info.getUint32(12, true)).toBe(1)
    expect(memory.read(u64(24), 4)).toEqual(new TextEncoder().encode('a b\0'))
    expect(u64(32)).toBe(0xe_0000)
    const module = memory.dataView(u64(16), 32)
    const [at, size] = [module.getBigUint64(0, true), module.getBigUint64(8, true)]
    expect(memory.read(Number(at), Number(size))).toEqual(initrd)
    const map = memory.dataView(u64(40), info.getUint32(48, true) * 24)
    const entries = Array.from({ length: map.byteLength / 24 }, (_, i) => [
      Number(map.getBigUint64(i * 24, true)),
      Number(map.getBigUint64(i * 24 + 8, true)),
      map.getUint32(i * 24 + 16, true),
      map.getUint32(i * 24 + 20, true),
    ])
    expect(entries).toEqual([
      [0, 0x9_fc00, 1, 0],
      [0x9_fc00, 0x6_0400, 2, 0],
      [0x10_0000, 31 * MIB, 1, 0],
    ])
  })

  it('without an initrd gets no module', () => {
    const { memory } = boot(pvhImage())
    const info = memory.dataView(BOOT_INFO_START, 56)
    expect(info.getUint32(12, true)).toBe(0)
    expect(info.getBigUint64(16, true)).toBe(0n)
  })

  it.each([4, 8])('may have a note of %i bytes', (size) => {
    const note = elfNote(
      'Xen',
      XEN_ELFNOTE_PHYS32_ENTRY,
      Uint8Array.of(0, 0, 0, 1, 0, 0, 0, 0).subarray(0, size),
    )
    expect(boot(pvhImage({}, note)).entry.rip).toBe(0x100_0000n)
  })

  it('may have its note behind others, and in a later segment', () => {
    const notes = Uint8Array.from([
      ...elfNote('GNU', 3, new Uint8Array(20)),
      ...elfNote('Xen', 5, new Uint8Array(3)),
      ...elfNote('Linux', 18, new Uint8Array(8)),
      ...elfNote('', 18, new Uint8Array(0)),
      ...pvhNote(),
      ...elfNote('Xen', 18, new Uint8Array(8)),
    ])
    expect(boot(pvhImage({}, notes)).entry.cs.l).toBe(0)
    const property = elfNote('GNU', 5, new Uint8Array(12), { align: 8 })
    const image = elfImage({
      segments: [
        { bytes: HLT },
        { type: PT_NOTE, bytes: property, align: 8 },
        { type: PT_NOTE, bytes: pvhNote() },
      ],
    })
    expect(boot(image).entry.cs.l).toBe(0)
  })

  it.each([
    ['a name that only begins so', elfNote('Xenon', 18, new Uint8Array(8))],
    ['another type', elfNote('Xen', 17, new Uint8Array(8))],
    ['too little for a header', new Uint8Array(11)],
    ['nothing', new Uint8Array(0)],
  ])('is none for a note of %s', (_, note) => {
    expect(boot(pvhImage({}, note)).entry.cs.l).toBe(1)
  })
})

describe('a bad ELF kernel', () => {
  const refused = (options: ElfOptions) => {
    const error = failureOf(() => boot(elfImage(options)))
    expect(error).toMatchObject({ code: 'ERR_KERNEL_IMAGE', option: 'kernel' })
    return error.message
  }
  const segment = (...segments: SegmentOptions[]) =>
    refused({ segments: [{ bytes: HLT }, ...segments] })

  it.each<[string, ElfOptions, string]>([
    ['big-endian', { data: 2 }, 'EI_DATA 0x2'],
    ['no endianness', { data: 0 }, 'EI_DATA 0x0'],
    ['relocatable', { type: 1 }, 'e_type 0x1'],
    ['a shared object', { type: 3 }, 'e_type 0x3'],
    ['a core dump', { type: 4 }, 'e_type 0x4'],
    ['for ARM64', { machine: 183 }, 'e_machine 0xb7'],
    ['for i386 in 64 bits', { machine: 3 }, 'e_machine 0x3'],
    ['for ARM in 32 bits', { bits: 32, machine: 40 }, 'e_machine 0x28'],
    ['of 32 bits without a PVH note', { bits: 32 }, '32-bit ELF without a PVH note'],
    ['without segments', { segments: [] }, 'e_phnum 0'],
    ['with 65,535 program headers', { phnum: 65_535 }, 'e_phnum 65535'],
    ['with 65 program headers', { phnum: 65 }, 'e_phnum 65'],
    ['with program headers of 0 bytes', { phentsize: 0 }, 'e_phentsize 0x0'],
    ['with program headers of 1 byte', { phentsize: 1 }, 'e_phentsize 0x1'],
    ['with program headers of 57 bytes', { phentsize: 57 }, 'e_phentsize 0x39'],
    ['with program headers past its end', { phoff: 100 }, 'its program headers'],
    ['with program headers that wrap', { phoff: 2n ** 64n - 16n }, 'its program headers'],
    ['with nothing to load', { segments: [{ type: 6, bytes: HLT }] }, 'nothing to load'],
    ['with empty segments only', { segments: [{ bytes: new Uint8Array(0) }] }, 'nothing to load'],
  ])('%s', (_, options, message) => {
    expect(refused(options)).toContain(message)
  })

  it('of class 0 or 3', () => {
    for (const elfClass of [0, 3, 255]) {
      const image = elfImage()
      image[4] = elfClass
      expect(failureOf(() => boot(image)).message).toContain('EI_CLASS')
    }
  })

  it.each<[string, SegmentOptions, string]>([
    ['below 1 MiB: over the zero page', { paddr: 0x7000 }, 'segments from 1 MiB on'],
    ['below 1 MiB by a byte', { paddr: 0xf_ffff }, 'segments from 1 MiB on'],
    ['at 0', { paddr: 0 }, 'segments from 1 MiB on'],
    ['past the memory', { paddr: 32 * MIB }, `the guest's ${32 * MIB} bytes`],
    [
      'across the end of memory',
      { paddr: 32 * MIB - 1, memsz: 2 },
      `the guest's ${32 * MIB} bytes`,
    ],
    ['in the device hole', { paddr: 0xd000_0000 }, `the guest's ${32 * MIB} bytes`],
    ['at 2^63', { paddr: 2n ** 63n }, 'a segment'],
    ['that wraps', { paddr: 2n ** 64n - 4096n, memsz: 8192 }, 'a segment'],
    ['of 2^63 bytes', { paddr: 18 * MIB, memsz: 2n ** 63n }, 'a segment'],
    ['of 2^64 - 1 bytes', { paddr: 18 * MIB, memsz: 2n ** 64n - 1n }, 'a segment'],
    ['of more in the file than in memory', { paddr: 18 * MIB, memsz: 0 }, 'no more in the file'],
    ['of more than the file has', { paddr: 18 * MIB, filesz: 4096 }, 'all within its'],
    [
      'of 2^64 - 1 bytes in the file',
      { paddr: 18 * MIB, filesz: 2n ** 64n - 1n },
      'all within its',
    ],
    ['past the end of the file', { paddr: 18 * MIB, offset: 4096 }, 'all within its'],
    ['at 2^64 - 1 in the file', { paddr: 18 * MIB, offset: 2n ** 64n - 1n }, 'all within its'],
    ['over another', { paddr: ELF_ADDRESS }, 'segments that do not overlap'],
  ])('with a segment %s', (_, options, message) => {
    expect(segment({ bytes: HLT, ...options })).toContain(message)
  })

  it('with segments that overlap by a byte', () => {
    const overlapping = [
      { bytes: HLT, memsz: 4097 },
      { bytes: HLT, paddr: ELF_ADDRESS + 4096 },
    ]
    expect(refused({ segments: overlapping })).toContain('segments that do not overlap')
    overlapping[0]!.memsz = 4096
    expect(() => boot(elfImage({ segments: overlapping }))).not.toThrow()
  })

  it.each([0, 1, 0x7000, ELF_ADDRESS - 1, ELF_ADDRESS + 1, 2n ** 63n, 2n ** 64n - 1n])(
    'with its entry point outside its code: %i',
    (entry) => {
      expect(refused({ entry })).toContain('its entry point at 0x')
      // What is zero because the file has nothing there is no code either.
      expect(refused({ entry, segments: [{ bytes: HLT, memsz: 4096 }] })).toContain('entry point')
    },
  )

  it('cut off, anywhere', () => {
    for (const whole of [elfImage(), pvhImage(), pvhImage({ bits: 32 })]) {
      expect(() => boot(whole)).not.toThrow()
      for (let length = 4; length < whole.length; length++) {
        expect(failureOf(() => boot(whole.slice(0, length))).code, `${length}`).toBe(
          'ERR_KERNEL_IMAGE',
        )
      }
    }
  })
})

describe('a bad PVH note', () => {
  const refused = (note: Uint8Array, segment: SegmentOptions = {}) => {
    const segments = [{ bytes: HLT }, { type: PT_NOTE, bytes: note, paddr: 0, ...segment }]
    const error = failureOf(() => boot(elfImage({ segments })))
    expect(error.code).toBe('ERR_KERNEL_IMAGE')
    return error.message
  }
  const entry = new Uint8Array(8)

  it.each([
    ['a name of 2^32 - 1 bytes', elfNote('Xen', 18, entry, { nameSize: 0xffff_ffff })],
    ['a description of 2^32 - 1 bytes', elfNote('Xen', 18, entry, { size: 0xffff_ffff })],
    ['both', elfNote('Xen', 18, entry, { nameSize: 0xffff_ffff, size: 0xffff_ffff })],
    ['a name beyond the segment', elfNote('Xen', 18, entry, { nameSize: 17 })],
    ['a description beyond the segment', elfNote('Xen', 18, entry, { size: 9 })],
    [
      'a bad note in front of the good one',
      Uint8Array.from([...elfNote('A', 1, entry, { size: 1000 }), ...pvhNote()]),
    ],
  ])('has %s', (_, note) => {
    expect(refused(note)).toContain('has an ELF note of')
  })

  it.each([0, 1, 3, 5, 7])('has %i bytes', (size) => {
    expect(refused(elfNote('Xen', 18, new Uint8Array(size)))).toContain('has a PVH note of')
  })

  it.each([0, ELF_ADDRESS - 1, ELF_ADDRESS + 1, 0xffff_ffff])('points to %i', (address) => {
    expect(refused(pvhNote(address))).toContain('PVH entry point at 0x')
  })

  it('is in a segment that the file does not have, or that is too large', () => {
    expect(refused(pvhNote(), { filesz: 4096 })).toContain('its notes')
    expect(refused(pvhNote(), { offset: 2n ** 64n - 8n })).toContain('its notes')
    expect(refused(new Uint8Array(0x1_0001))).toContain('has notes of 65537 bytes')
  })
})
