import { describe, expect, it } from 'vitest'
import { BOOT_INFO_START } from '../../lib/arch/x86-64/layout.js'
import { findMultibootHeader } from '../../lib/boot/multiboot-header.js'
import type { GuestMemory } from '../../lib/memory/guest-memory.js'
import { boot, failureOf, MIB } from '../helpers/boot.js'
import {
  bzImage,
  elfImage,
  multibootElf,
  multibootHeader,
  multibootImage,
  pvhImage,
} from '../helpers/kernel-images.js'

const code = Uint8Array.of(0x90, 0x90, 0xf4)
const bytes = (text: string) => new TextEncoder().encode(text)

function text(memory: GuestMemory, address: number): string {
  const view = memory.view(address, 100)
  return Buffer.from(view.subarray(0, view.indexOf(0))).toString()
}

/** The information structure, as a kernel reads it. */
function information(memory: GuestMemory) {
  const view = memory.dataView(BOOT_INFO_START, 4096)
  const word = (offset: number) => view.getUint32(offset, true)
  const modules = Array.from({ length: word(20) }, (_, i) => {
    const entry = memory.dataView(word(24) + 16 * i, 16)
    const [start, end, name] = [0, 4, 8].map((at) => entry.getUint32(at, true))
    return {
      start: start!,
      bytes: Buffer.from(memory.view(start!, end! - start!)).toString(),
      name: text(memory, name!),
    }
  })
  const map: { address: number; size: number; type: number }[] = []
  for (let at = word(48); at < word(48) + word(44); ) {
    const entry = memory.dataView(at, 24)
    map.push({
      address: Number(entry.getBigUint64(4, true)),
      size: Number(entry.getBigUint64(12, true)),
      type: entry.getUint32(20, true),
    })
    at += 4 + entry.getUint32(0, true)
  }
  return {
    flags: word(0),
    lower: word(4),
    upper: word(8),
    commandLine: text(memory, word(16)),
    loader: text(memory, word(64)),
    modules,
    map,
  }
}

describe('a Multiboot kernel', () => {
  it.each([
    ['by its address fields', multibootImage({ code }), 0x10_0020],
    ['with a header further on', multibootImage({ code, before: 4096 }), 0x10_1020],
    [
      'that ends with its file and has no BSS',
      multibootImage({ code, addresses: { 5: 0, 6: 0 } }),
      0x10_0020,
    ],
    ['in an ELF', multibootElf(code), 0x10_000c],
  ])('is loaded %s', (_, image, rip) => {
    const { memory, entry } = boot(image)
    expect([...memory.view(rip, 3)]).toEqual([...code])
    expect(entry).toMatchObject({
      rip: BigInt(rip),
      rax: 0x2bad_b002n,
      rbx: BigInt(BOOT_INFO_START),
      cr0: 0x11n,
    })
    expect(information(memory)).toEqual({
      flags: 0x245,
      lower: 639,
      upper: 31 * 1024,
      commandLine: 'kernel',
      loader: 'node-kvm',
      modules: [],
      map: [
        { address: 0, size: 0x9fc00, type: 1 },
        { address: 0x9fc00, size: 0x60400, type: 2 },
        { address: MIB, size: 31 * MIB, type: 1 },
      ],
    })
  })

  it('finds in the BIOS data area how much base memory there is, and the EBDA behind that', () => {
    const { memory } = boot(multibootElf(code))
    const area = memory.dataView(0x400, 0x100)
    expect(area.getUint16(0x13, true)).toBe(639)
    expect(area.getUint16(0x0e, true) * 16).toBe(639 * 1024)
    expect(memory.view(639 * 1024, 1)[0]).toBe(1)
  })

  it('gets its modules with their command lines, the initrd first', () => {
    const modules = [
      { image: bytes('one'), commandLine: 'first a=b' },
      { image: new Uint8Array(5000).fill(0x41), commandLine: '' },
      { image: bytes('three'), commandLine: 'third' },
    ]
    const { memory } = boot(multibootImage({ code }), {
      modules,
      initrd: bytes('zero'),
      commandLine: ['quiet', 'x=y'],
    })
    const seen = information(memory)
    expect(seen.flags).toBe(0x24d)
    expect(seen.commandLine).toBe('kernel quiet x=y')
    expect(seen.modules.map(({ name }) => name)).toEqual(['initrd', 'first a=b', '', 'third'])
    expect(seen.modules.map((module) => module.bytes)).toEqual([
      'zero',
      'one',
      'A'.repeat(5000),
      'three',
    ])
    const starts = seen.modules.map(({ start }) => start)
    // Behind the kernel's BSS, each on a page of its own.
    expect(starts).toEqual([0x10_2000, 0x10_3000, 0x10_4000, 0x10_6000])
  })

  it('is started by PVH if it has a note for that, which has modules too', () => {
    const segments = [{ bytes: multibootHeader(0), paddr: 0x100_0000 }]
    const modules = [
      { image: bytes('one'), commandLine: 'first' },
      { image: bytes('two'), commandLine: 'second' },
    ]
    const { memory, entry } = boot(pvhImage({ segments }), { modules, initrd: bytes('zero') })
    expect(entry.rax).toBeUndefined()
    const view = memory.dataView(BOOT_INFO_START, 4096)
    expect(view.getUint32(12, true)).toBe(3)
    const list = Number(view.getBigUint64(16, true))
    const seen = [0, 1, 2].map((i) => {
      const entry = memory.dataView(list + 32 * i, 32)
      const [address, size, line] = [0, 8, 16].map((at) => Number(entry.getBigUint64(at, true)))
      const content = Buffer.from(memory.view(address!, size!)).toString()
      return [content, line === 0 ? undefined : text(memory, line!)]
    })
    expect(seen).toEqual([
      ['zero', undefined],
      ['one', 'first'],
      ['two', 'second'],
    ])
  })

  it.each<[what: string, image: Uint8Array, value: unknown]>([
    ['an unknown flag', multibootImage({ flags: 0x1_0008 }), 0x1_0008],
    ['no addresses and no ELF', multibootImage({ flags: 3 }), 3],
    ['load_addr below 1 MiB', multibootImage({ addresses: { 4: 0xf_ffff } }), 0xf_ffff],
    ['header_addr below load_addr', multibootImage({ addresses: { 3: 0xf_ffff } }), 0xf_ffff],
    ['header_addr too far', multibootImage({ addresses: { 3: 0x10_0001 } }), 0x10_0001],
    ['load_end_addr past the file', multibootImage({ addresses: { 5: 0x10_0022 } }), 0x10_0022],
    ['load_end_addr in front', multibootImage({ addresses: { 5: 0x10_0000 } }), 0x10_0000],
    ['bss_end_addr in what is loaded', multibootImage({ addresses: { 6: 0x10_0001 } }), 0x10_0001],
    ['bss_end_addr past memory', multibootImage({ addresses: { 6: 0x200_0001 } }), 0x10_0000],
    ['entry_addr in front', multibootImage({ addresses: { 7: 0xf_ffff } }), 0xf_ffff],
    ['entry_addr behind', multibootImage({ addresses: { 7: 0x10_0021 } }), 0x10_0021],
  ])('with %s is refused', (_, image, value) => {
    expect(failureOf(() => boot(image))).toMatchObject({
      code: 'ERR_KERNEL_IMAGE',
      option: 'kernel',
      value,
    })
  })

  it('gets no module that is empty or finds no place', () => {
    const image = multibootImage()
    const load = (module: Uint8Array) =>
      failureOf(() => boot(image, { modules: [{ image: module, commandLine: '' }] }))
    expect(load(new Uint8Array())).toMatchObject({ code: 'ERR_INITRD', option: 'modules' })
    expect(load(new Uint8Array(31 * MIB))).toMatchObject({ code: 'ERR_INITRD', value: 31 * MIB })
  })

  it('gets no more command lines than there is room for', () => {
    const modules = Array.from({ length: 20 }, () => ({
      image: code,
      commandLine: 'x'.repeat(4000),
    }))
    expect(failureOf(() => boot(multibootImage(), { modules }))).toMatchObject({
      code: 'ERR_COMMAND_LINE',
      option: 'modules',
    })
    expect(failureOf(() => boot(pvhImage(), { modules }))).toMatchObject({
      code: 'ERR_INVALID_OPTION',
      option: 'modules',
    })
    const long = [{ image: code, commandLine: 'x'.repeat(4097) }]
    expect(failureOf(() => boot(multibootImage(), { modules: long }))).toMatchObject({
      code: 'ERR_COMMAND_LINE',
    })
  })
})

describe('a Multiboot header', () => {
  const place = (header: Uint8Array, at: number) => {
    const file = new Uint8Array(16384)
    file.set(header, at)
    return findMultibootHeader(file.subarray(0, 8192))?.offset
  }
  const short = multibootHeader(0)
  const long = multibootHeader(1 << 16, [1, 2, 3, 4, 5])

  it('lies wholly in the first 8192 bytes, on a boundary of 4', () => {
    expect(place(short, 8180)).toBe(8180)
    expect(place(short, 8184)).toBeUndefined()
    expect(place(long, 8160)).toBe(8160)
    expect(place(long, 8164)).toBeUndefined()
    expect(place(short, 2)).toBeUndefined()
  })

  it('has a checksum that is right, or is none', () => {
    const wrong = short.slice()
    wrong[8] = wrong[8]! ^ 1
    const file = new Uint8Array(128)
    file.set(wrong, 16)
    expect(findMultibootHeader(file)).toBeUndefined()
    file.set(short, 64)
    expect(findMultibootHeader(file)?.offset).toBe(64)
  })
})

it.each([
  ['a bzImage', bzImage()],
  ['an ELF for the 64-bit Linux protocol', elfImage()],
])('%s takes no modules', (_, image) => {
  const modules = [{ image: code, commandLine: '' }]
  expect(failureOf(() => boot(image, { modules }))).toMatchObject({
    code: 'ERR_INVALID_OPTION',
    option: 'modules',
  })
})
