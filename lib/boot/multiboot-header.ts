import { HIGH_MEMORY_START } from '../arch/x86-64/layout.js'
import { hex } from '../util/bits.js'
import type { ImageFile } from './image-file.js'

// Multiboot Specification 0.6.96, section 3.1.
export const MULTIBOOT_HEADER_MAGIC = 0x1bad_b002
/** The header lies wholly in these first bytes of the file, on a boundary of 4. */
export const MULTIBOOT_SEARCH = 8192
const HEADER_SIZE = 12
const HEADER_SIZE_WITH_ADDRESSES = 32

export const MULTIBOOT_PAGE_ALIGN = 1 << 0
export const MULTIBOOT_MEMORY_INFO = 1 << 1
export const MULTIBOOT_VIDEO_MODE = 1 << 2
export const MULTIBOOT_AOUT_KLUDGE = 1 << 16
/** A boot loader that does not know one of the lower flags must not go on; it may with the upper ones. */
const REQUIRED = 0xffff
const KNOWN = MULTIBOOT_PAGE_ALIGN | MULTIBOOT_MEMORY_INFO | MULTIBOOT_VIDEO_MODE

/** Where a Multiboot header was found. */
export interface MultibootHeader {
  /** Bytes from the start of the file. */
  readonly offset: number
  readonly flags: number
  /** The fields of the header after the first three, if MULTIBOOT_AOUT_KLUDGE says that they count. */
  readonly addresses:
    | readonly [
        headerAddress: number,
        loadAddress: number,
        loadEnd: number,
        bssEnd: number,
        entry: number,
      ]
    | undefined
}

/** The first header whose magic number and checksum are right; `undefined` if there is none. */
export function findMultibootHeader(head: Uint8Array): MultibootHeader | undefined {
  const view = new DataView(head.buffer, head.byteOffset, Math.min(head.length, MULTIBOOT_SEARCH))
  for (let offset = 0; offset <= view.byteLength - HEADER_SIZE; offset += 4) {
    if (view.getUint32(offset, true) !== MULTIBOOT_HEADER_MAGIC) continue
    const flags = view.getUint32(offset + 4, true)
    if ((MULTIBOOT_HEADER_MAGIC + flags + view.getUint32(offset + 8, true)) % 2 ** 32 !== 0)
      continue
    if ((flags & MULTIBOOT_AOUT_KLUDGE) === 0) return { offset, flags, addresses: undefined }
    if (offset > view.byteLength - HEADER_SIZE_WITH_ADDRESSES) continue
    const field = (index: number) => view.getUint32(offset + 12 + 4 * index, true)
    return { offset, flags, addresses: [field(0), field(1), field(2), field(3), field(4)] }
  }
  return undefined
}

/** @throws VmmError `ERR_KERNEL_IMAGE` if the header asks for what nobody here can give */
export function checkMultibootFlags(kernel: ImageFile, { flags }: MultibootHeader): void {
  const unknown = flags & REQUIRED & ~KNOWN
  if (unknown === 0) return
  throw kernel.error(
    `has flags ${hex(flags)} in its Multiboot header`,
    flags,
    `none of bits 3 to 15, which are not defined`,
  )
}

/** What the address fields of a header say is to be loaded: one segment, as an ELF would give it. */
export interface MultibootSegment {
  readonly offset: number
  readonly paddr: number
  readonly filesz: number
  readonly memsz: number
  readonly entry: number
}

/**
 * Reads the address fields (section 3.1.3).
 * @throws VmmError `ERR_KERNEL_IMAGE` if they contradict each other or the file
 */
export function multibootSegment(
  kernel: ImageFile,
  header: MultibootHeader,
  addresses: NonNullable<MultibootHeader['addresses']>,
): MultibootSegment {
  const { offset: headerOffset } = header
  const [headerAddress, loadAddress, loadEnd, bssEnd, entry] = addresses
  const fail = (name: string, value: number, expected: string) =>
    kernel.error(`has ${name} ${hex(value)} in its Multiboot header`, value, expected)
  if (loadAddress < HIGH_MEMORY_START) {
    throw fail('load_addr', loadAddress, `an address from ${hex(HIGH_MEMORY_START)} on`)
  }
  const before = headerAddress - loadAddress
  if (before < 0 || before > headerOffset) {
    throw fail(
      'header_addr',
      headerAddress,
      `an address from load_addr ${hex(loadAddress)} on, at most ${headerOffset} bytes behind it`,
    )
  }
  const offset = headerOffset - before
  const filesz = loadEnd === 0 ? kernel.size - offset : loadEnd - loadAddress
  if (filesz <= before || filesz > kernel.size - offset) {
    throw fail(
      'load_end_addr',
      loadEnd,
      `an address behind the header, with no more than ${kernel.size - offset} bytes to load`,
    )
  }
  const memsz = bssEnd === 0 ? filesz : bssEnd - loadAddress
  if (memsz < filesz) {
    throw fail('bss_end_addr', bssEnd, `0, or an address from ${hex(loadAddress + filesz)} on`)
  }
  if (entry < loadAddress || entry - loadAddress >= filesz) {
    throw fail('entry_addr', entry, 'an address in what is loaded')
  }
  return { offset, paddr: loadAddress, filesz, memsz, entry }
}
