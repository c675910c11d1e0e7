import { HIGH_MEMORY_START } from '../arch/x86-64/layout.js'
import type { GuestMemory } from '../memory/guest-memory.js'
import { hex } from '../util/bits.js'
import type { ImageFile } from './image-file.js'

// ELF header and program header values (System V ABI, chapters 4 and 5).
export const ELF_MAGIC = [0x7f, 0x45, 0x4c, 0x46] as const
const ELFCLASS32 = 1
const ELFCLASS64 = 2
const ELFDATA2LSB = 1
const ET_EXEC = 2
const EM_386 = 3
const EM_X86_64 = 62
const PT_LOAD = 1
const PT_NOTE = 4

/** More program headers than any kernel has; Linux has 5. */
const MAX_PROGRAM_HEADERS = 64
/** Bytes of an ELF header of either class, at most. */
const EHDR_SIZE = 64

/** A program header's fields, as numbers. */
export interface ProgramHeader {
  readonly type: number
  /** Bytes from the start of the file. */
  readonly offset: number
  /** Guest-physical. */
  readonly paddr: number
  readonly filesz: number
  readonly memsz: number
  readonly align: number
}

/** A kernel in ELF, with all offsets and sizes checked against the file. */
export interface ElfImage {
  readonly is64Bit: boolean
  readonly entry: number
  /** PT_LOAD, by address; none empty, none overlapping, all from 1 MiB on. */
  readonly segments: readonly ProgramHeader[]
  /** PT_NOTE. */
  readonly notes: readonly ProgramHeader[]
}

export function isElf(head: Uint8Array): boolean {
  return head.length >= ELF_MAGIC.length && ELF_MAGIC.every((byte, i) => head[i] === byte)
}

/**
 * Reads the headers of an executable for x86, of either class.
 * @throws VmmError `ERR_KERNEL_IMAGE` naming the field, its value and what was expected
 */
export function parseElf(kernel: ImageFile): ElfImage {
  const head = kernel.read(0, EHDR_SIZE)
  const is64Bit = head[4] === ELFCLASS64
  const layout = is64Bit ? ELF64 : ELF32
  if (head.length < layout.ehdrSize) {
    throw kernel.error(
      `is cut off in its ELF header, at ${head.length} bytes`,
      head.length,
      `at least ${layout.ehdrSize}`,
    )
  }
  const view = new DataView(head.buffer)
  const check = (name: string, value: number, accepted: readonly number[], expected: string) => {
    if (!accepted.includes(value)) {
      throw kernel.error(`has ${name} ${hex(value)} in its ELF header`, value, expected)
    }
    return value
  }
  check('EI_CLASS', head[4]!, [ELFCLASS32, ELFCLASS64], '1 or 2')
  check('EI_DATA', head[5]!, [ELFDATA2LSB], '1 (little-endian)')
  check('e_type', view.getUint16(16, true), [ET_EXEC], '2 (ET_EXEC): a linked kernel')
  check(
    'e_machine',
    view.getUint16(18, true),
    is64Bit ? [EM_X86_64] : [EM_386, EM_X86_64],
    '62 (x86-64) or, in a 32-bit file, 3 (80386)',
  )
  const { phoff, phentsize, phnum } = layout.programHeaders(view)
  check('e_phentsize', phentsize, [layout.phdrSize], String(layout.phdrSize))
  if (phnum < 1 || phnum > MAX_PROGRAM_HEADERS) {
    throw kernel.error(
      `has e_phnum ${phnum} in its ELF header`,
      phnum,
      `from 1 to ${MAX_PROGRAM_HEADERS} program headers`,
    )
  }
  checkInFile(kernel, 'its program headers', phoff, phnum * phentsize)
  const table = kernel.read(phoff, phnum * phentsize)
  const headers = Array.from({ length: phnum }, (_, i) =>
    layout.programHeader(new DataView(table.buffer, i * phentsize, phentsize)),
  )
  return {
    is64Bit,
    entry: layout.entry(view),
    segments: checkSegments(
      kernel,
      headers.filter(({ type, memsz, filesz }) => type === PT_LOAD && (memsz > 0 || filesz > 0)),
    ),
    notes: headers.filter(({ type }) => type === PT_NOTE),
  }
}

/**
 * Copies the segments into memory and clears what the file does not give.
 * @returns the first address after them
 * @throws VmmError `ERR_KERNEL_IMAGE` if one lies where there is no memory
 */
export function loadSegments(
  kernel: ImageFile,
  memory: GuestMemory,
  segments: readonly Pick<ProgramHeader, 'offset' | 'paddr' | 'filesz' | 'memsz'>[],
): number {
  for (const { paddr, memsz } of segments) {
    if (memory.findRegion(paddr, memsz) === undefined) {
      throw kernel.error(
        `has a segment of ${memsz} bytes at ${hex(paddr)}`,
        paddr,
        `segments within the guest's ${memory.size} bytes of memory`,
      )
    }
  }
  for (const { offset, paddr, filesz, memsz } of segments) {
    kernel.readInto(memory.view(paddr, filesz), offset)
    memory.fill(paddr + filesz, memsz - filesz)
  }
  const last = segments.at(-1)!
  return last.paddr + last.memsz
}

/**
 * Checks that what is to be jumped to has come from the file.
 * @throws VmmError `ERR_KERNEL_IMAGE`
 */
export function checkEntry(kernel: ImageFile, name: string, entry: number, elf: ElfImage): number {
  const found = elf.segments.some(({ paddr, filesz }) => entry >= paddr && entry - paddr < filesz)
  if (found) return entry
  throw kernel.error(`has its ${name} at ${hex(entry)}`, entry, 'an address in one of its segments')
}

/** @throws VmmError `ERR_KERNEL_IMAGE` unless `[offset, offset + size)` lies in the file */
export function checkInFile(kernel: ImageFile, what: string, offset: number, size: number): void {
  if (size <= kernel.size && offset <= kernel.size - size) return
  throw kernel.error(
    `has ${what} at bytes ${offset} to ${offset + size}`,
    offset,
    `all within its ${kernel.size} bytes`,
  )
}

function checkSegments(
  kernel: ImageFile,
  segments: readonly ProgramHeader[],
): readonly ProgramHeader[] {
  if (segments.length === 0) throw kernel.error('has nothing to load', 0, 'a PT_LOAD segment')
  const sorted = [...segments].sort((a, b) => a.paddr - b.paddr)
  let end = HIGH_MEMORY_START
  for (const [i, { offset, paddr, filesz, memsz }] of sorted.entries()) {
    checkInFile(kernel, 'a segment', offset, filesz)
    if (filesz > memsz) {
      throw kernel.error(
        `has a segment of ${filesz} bytes in the file and ${memsz} in memory`,
        filesz,
        'no more in the file than in memory',
      )
    }
    if (paddr < end) {
      const expected = i === 0 ? 'segments from 1 MiB on' : 'segments that do not overlap'
      throw kernel.error(`has a segment at ${hex(paddr)}`, paddr, expected)
    }
    if (memsz > Number.MAX_SAFE_INTEGER - paddr) {
      throw kernel.error(`has a segment of ${memsz} bytes`, memsz, 'segments below 2^53')
    }
    end = paddr + memsz
  }
  return sorted
}

/** Where the two classes keep the same things. Numbers of 2^53 and more lose bits, and are refused for their size. */
interface ElfLayout {
  readonly ehdrSize: number
  readonly phdrSize: number
  entry(view: DataView): number
  programHeaders(view: DataView): { phoff: number; phentsize: number; phnum: number }
  programHeader(view: DataView): ProgramHeader
}

const u64 = (view: DataView, offset: number) => Number(view.getBigUint64(offset, true))
const u32 = (view: DataView, offset: number) => view.getUint32(offset, true)
const u16 = (view: DataView, offset: number) => view.getUint16(offset, true)

const ELF64: ElfLayout = {
  ehdrSize: 64,
  phdrSize: 56,
  entry: (view) => u64(view, 24),
  programHeaders: (view) => ({
    phoff: u64(view, 32),
    phentsize: u16(view, 54),
    phnum: u16(view, 56),
  }),
  programHeader: (view) => ({
    type: u32(view, 0),
    offset: u64(view, 8),
    paddr: u64(view, 24),
    filesz: u64(view, 32),
    memsz: u64(view, 40),
    align: u64(view, 48),
  }),
}

const ELF32: ElfLayout = {
  ehdrSize: 52,
  phdrSize: 32,
  entry: (view) => u32(view, 24),
  programHeaders: (view) => ({
    phoff: u32(view, 28),
    phentsize: u16(view, 42),
    phnum: u16(view, 44),
  }),
  programHeader: (view) => ({
    type: u32(view, 0),
    offset: u32(view, 4),
    paddr: u32(view, 12),
    filesz: u32(view, 16),
    memsz: u32(view, 20),
    align: u32(view, 28),
  }),
}
