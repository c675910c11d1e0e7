import * as setup from '../../lib/boot/linux-setup.js'

/** What a test's kernel does with the machine it is given: by default nothing but `hlt`. */
export const HLT = Uint8Array.of(0xf4)

export interface BzImageOptions {
  setupSects?: number
  /** Setup header fields by offset: `{ [setup.INIT_SIZE]: 0 }`. */
  fields?: Readonly<Record<number, number | bigint>>
  /** Code at the 64-bit entry point. */
  code?: Uint8Array
  /** Bytes of the protected-mode kernel; 4096 unless told. */
  kernelSize?: number
}

/** A bzImage as small as one can be: protocol 2.15, at 16 MiB, needing 1 MiB. */
export function bzImage(options: BzImageOptions = {}): Uint8Array {
  const { setupSects = 1, code = HLT, kernelSize = 4096 } = options
  const kernelOffset = ((setupSects || 4) + 1) * 512
  const image = new Uint8Array(kernelOffset + kernelSize)
  const view = new DataView(image.buffer)
  view.setUint8(setup.SETUP_SECTS, setupSects)
  view.setUint32(setup.SYSSIZE, kernelSize / 16, true)
  view.setUint16(setup.BOOT_FLAG, 0xaa55, true)
  view.setUint8(setup.JUMP_OFFSET - 1, 0xeb)
  view.setUint8(setup.JUMP_OFFSET, 0x6a)
  view.setUint32(setup.HEADER, setup.HEADER_MAGIC, true)
  view.setUint16(setup.VERSION, 0x20f, true)
  view.setUint8(setup.LOADFLAGS, setup.LOADED_HIGH)
  view.setUint32(setup.INITRD_ADDR_MAX, 0x7fff_ffff, true)
  view.setUint32(setup.KERNEL_ALIGNMENT, 0x20_0000, true)
  view.setUint8(setup.RELOCATABLE_KERNEL, 1)
  view.setUint16(setup.XLOADFLAGS, setup.XLF_KERNEL_64, true)
  view.setUint32(setup.CMDLINE_SIZE, 2047, true)
  view.setBigUint64(setup.PREF_ADDRESS, 0x100_0000n, true)
  view.setUint32(setup.INIT_SIZE, 0x10_0000, true)
  image.set(code, kernelOffset + setup.ENTRY_64)
  for (const [offset, value] of Object.entries(options.fields ?? {})) {
    setField(view, Number(offset), value)
  }
  return image
}

const WIDTHS: Readonly<Record<number, 1 | 2>> = {
  [setup.SETUP_SECTS]: 1,
  [setup.BOOT_FLAG]: 2,
  [setup.JUMP_OFFSET]: 1,
  [setup.VERSION]: 2,
  [setup.LOADFLAGS]: 1,
  [setup.RELOCATABLE_KERNEL]: 1,
  [setup.XLOADFLAGS]: 2,
}

function setField(view: DataView, offset: number, value: number | bigint): void {
  if (typeof value === 'bigint') view.setBigUint64(offset, value, true)
  else if (WIDTHS[offset] === 1) view.setUint8(offset, value)
  else if (WIDTHS[offset] === 2) view.setUint16(offset, value, true)
  else view.setUint32(offset, value, true)
}

export interface SegmentOptions {
  type?: number
  paddr?: number | bigint
  bytes?: Uint8Array
  memsz?: number | bigint
  filesz?: number | bigint
  offset?: number | bigint
  align?: number
}

export interface ElfOptions {
  bits?: 32 | 64
  type?: number
  machine?: number
  data?: number
  entry?: number | bigint
  segments?: readonly SegmentOptions[]
  phentsize?: number
  phnum?: number
  phoff?: number | bigint
}

export const PT_LOAD = 1
export const PT_NOTE = 4
/** Where a test's kernel lies unless told. */
export const ELF_ADDRESS = 0x100_0000

/** An ELF executable; unless told one segment with `hlt` at 16 MiB, where it starts. */
export function elfImage(options: ElfOptions = {}): Uint8Array {
  const { bits = 64, segments = [{ bytes: HLT }] } = options
  const [ehdrSize, phdrSize] = bits === 64 ? [64, 56] : [52, 32]
  let end = ehdrSize + segments.length * phdrSize
  const offsets = segments.map(({ bytes }) => {
    const offset = end
    end += bytes?.length ?? 0
    return offset
  })
  const image = new Uint8Array(end)
  const view = new DataView(image.buffer)
  const word = (offset: number, value: number | bigint) =>
    bits === 64
      ? view.setBigUint64(offset, BigInt(value), true)
      : view.setUint32(offset, Number(value), true)
  image.set([0x7f, 0x45, 0x4c, 0x46, bits / 32, options.data ?? 1, 1])
  view.setUint16(16, options.type ?? 2, true)
  view.setUint16(18, options.machine ?? (bits === 64 ? 62 : 3), true)
  view.setUint32(20, 1, true)
  word(24, options.entry ?? ELF_ADDRESS)
  word(bits === 64 ? 32 : 28, options.phoff ?? ehdrSize)
  view.setUint16(bits === 64 ? 54 : 42, options.phentsize ?? phdrSize, true)
  view.setUint16(bits === 64 ? 56 : 44, options.phnum ?? segments.length, true)
  for (const [i, segment] of segments.entries()) {
    const at = ehdrSize + i * phdrSize
    const size = segment.bytes?.length ?? 0
    // type, offset, paddr, filesz, memsz, align: ELF32 has its flags behind memsz.
    const places = bits === 64 ? [8, 24, 32, 40, 48] : [4, 12, 16, 20, 28]
    view.setUint32(at, segment.type ?? PT_LOAD, true)
    const values = [
      segment.offset ?? offsets[i]!,
      segment.paddr ?? ELF_ADDRESS,
      segment.filesz ?? size,
      segment.memsz ?? segment.filesz ?? size,
      segment.align ?? 4,
    ]
    for (const [field, value] of values.entries()) word(at + places[field]!, value)
    image.set(segment.bytes ?? [], offsets[i])
  }
  return image
}

/** An ELF note; sizes can be given that are not its own. */
export function elfNote(
  name: string,
  type: number,
  description: Uint8Array,
  { nameSize = name.length + 1, size = description.length, align = 4 } = {},
): Uint8Array {
  const pad = (length: number) => Math.ceil(length / align) * align
  const descriptionAt = pad(12 + name.length + 1)
  const note = new Uint8Array(pad(descriptionAt + description.length))
  const view = new DataView(note.buffer)
  view.setUint32(0, nameSize, true)
  view.setUint32(4, size, true)
  view.setUint32(8, type, true)
  note.set(new TextEncoder().encode(name), 12)
  note.set(description, descriptionAt)
  return note
}

export const XEN_ELFNOTE_PHYS32_ENTRY = 18

/** The note that makes a kernel startable by PVH. */
export function pvhNote(entry = ELF_ADDRESS): Uint8Array {
  const description = new Uint8Array(8)
  new DataView(description.buffer).setBigUint64(0, BigInt(entry), true)
  return elfNote('Xen', XEN_ELFNOTE_PHYS32_ENTRY, description)
}

/** An ELF executable with a PVH note. */
export function pvhImage(options: ElfOptions = {}, note = pvhNote()): Uint8Array {
  const segments = options.segments ?? [{ bytes: HLT }]
  return elfImage({ ...options, segments: [...segments, { type: PT_NOTE, bytes: note, paddr: 0 }] })
}

export interface MultibootOptions {
  /** Machine code, behind the header. */
  code?: Uint8Array
  flags?: number
  /** Bytes in front of the header. */
  before?: number
  /** Header fields by their index: 3 is header_addr. Only with bit 16 of the flags. */
  addresses?: Readonly<Record<number, number>>
}

const AOUT_KLUDGE = 1 << 16
const MULTIBOOT_LOAD = 0x10_0000

/** The words of a Multiboot header. */
export function multibootHeader(flags: number, addresses: readonly number[] = []): Uint8Array {
  const magic = 0x1bad_b002
  return new Uint8Array(Uint32Array.of(magic, flags, -(magic + flags), ...addresses).buffer)
}

/** A file that is loaded by a Multiboot header's address fields: the header, then the code. */
export function multibootImage(options: MultibootOptions = {}): Uint8Array {
  const { code = HLT, flags = AOUT_KLUDGE, before = 0 } = options
  const header = 32
  const size = before + header + code.length
  const addresses = [
    MULTIBOOT_LOAD + before,
    MULTIBOOT_LOAD,
    MULTIBOOT_LOAD + size,
    MULTIBOOT_LOAD + size + 4096,
    MULTIBOOT_LOAD + before + header,
  ].map((value, i) => options.addresses?.[3 + i] ?? value)
  const image = new Uint8Array(size)
  image.set(multibootHeader(flags, addresses), before)
  image.set(code, before + header)
  return image
}

/** An ELF with a Multiboot header in front of its code. */
export function multibootElf(code: Uint8Array = HLT): Uint8Array {
  const header = multibootHeader(0x3)
  const bytes = new Uint8Array(header.length + code.length)
  bytes.set(header)
  bytes.set(code, header.length)
  return elfImage({
    bits: 32,
    entry: 0x10_0000 + header.length,
    segments: [{ bytes, paddr: 0x10_0000 }],
  })
}
