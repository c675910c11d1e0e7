import type { EntryState } from '../arch/x86-64/entry-state.js'
import {
  BASE_MEMORY_END,
  BOOT_INFO_START,
  COMMAND_LINE_SIZE,
  COMMAND_LINE_START,
  HIGH_MEMORY_START,
  PAGE_SIZE,
} from '../arch/x86-64/layout.js'
import { VmmError } from '../errors.js'
import type { GuestMemory } from '../memory/guest-memory.js'
import { alignUp } from '../util/bits.js'
import { writeBiosDataArea } from './bios-data-area.js'
import { allModules, type PlacedModule, placeModules } from './boot-modules.js'
import type { BootProtocol, BootRequest } from './boot-protocol.js'
import { encodeCommandLine } from './command-line.js'
import { e820Map } from './e820.js'
import { checkEntry, isElf, loadSegments, parseElf } from './elf.js'
import type { ImageFile } from './image-file.js'
import {
  checkMultibootFlags,
  findMultibootHeader,
  MULTIBOOT_SEARCH,
  multibootSegment,
} from './multiboot-header.js'
import { pvhEntry, pvhEntryPoint } from './pvh.js'

/** What EAX tells a kernel that a Multiboot loader has started it (Multiboot Specification 0.6.96, section 3.2). */
export const MULTIBOOT_BOOTLOADER_MAGIC = 0x2bad_b002

// Flags of the information structure (section 3.3): which of its fields count.
const INFO_MEMORY = 1 << 0
const INFO_CMDLINE = 1 << 2
const INFO_MODS = 1 << 3
const INFO_MEM_MAP = 1 << 6
const INFO_BOOT_LOADER_NAME = 1 << 9

const INFO_SIZE = 116
const MODULE_SIZE = 16
const MMAP_SIZE = 24
const LOADER_NAME = 'node-kvm'

/**
 * Multiboot 1: an ELF, or by the header's address fields any file. A kernel that has a PVH note as well is started by
 * that, as it is the newer protocol. The first word of the command line is the kernel's name, as other loaders have it.
 * An initrd is the first module.
 */
export const multiboot: BootProtocol = {
  name: 'a Multiboot kernel',

  recognizes: (head, kernel) => findMultibootHeader(head) !== undefined && !hasPvhNote(kernel),

  load(request: BootRequest): EntryState {
    const { memory, kernel, commandLine } = request
    const { end, entry } = loadKernel(memory, kernel)
    const line = encodeCommandLine([kernel.name, ...commandLine], COMMAND_LINE_SIZE / 2)
    const modules = placeModules(memory, allModules(request), end)
    writeBiosDataArea(memory)
    const info = writeInformation(memory, line, modules)
    return { ...pvhEntry(memory, entry, info), rax: BigInt(MULTIBOOT_BOOTLOADER_MAGIC) }
  },
}

/** A file whose ELF headers are wrong has none; they may not be what it is loaded by. */
function hasPvhNote(kernel: ImageFile): boolean {
  try {
    return pvhEntryPoint(kernel, parseElf(kernel)) !== undefined
  } catch (error) {
    if (error instanceof VmmError && error.code === 'ERR_KERNEL_IMAGE') return false
    throw error
  }
}

/** @returns the first address after it, and its first instruction */
function loadKernel(memory: GuestMemory, kernel: ImageFile): { end: number; entry: number } {
  const head = kernel.read(0, MULTIBOOT_SEARCH)
  const header = findMultibootHeader(head)!
  checkMultibootFlags(kernel, header)
  if (header.addresses) {
    const segment = multibootSegment(kernel, header, header.addresses)
    return { end: loadSegments(kernel, memory, [segment]), entry: segment.entry }
  }
  if (!isElf(head)) {
    throw kernel.error(
      'is no ELF file, and its Multiboot header has no addresses',
      header.flags,
      'an ELF kernel, or bit 16 of the flags',
    )
  }
  const elf = parseElf(kernel)
  const entry = checkEntry(kernel, 'entry point', elf.entry, elf)
  return { end: loadSegments(kernel, memory, elf.segments), entry }
}

/** Writes the information structure and the memory map; command lines and the list of modules lie where Linux's does. */
function writeInformation(
  memory: GuestMemory,
  line: Uint8Array,
  modules: readonly PlacedModule[],
): number {
  memory.fill(BOOT_INFO_START, PAGE_SIZE)
  const view = memory.dataView(BOOT_INFO_START, PAGE_SIZE)
  const map = e820Map(memory.ram)
  const mmap = INFO_SIZE
  const name = mmap + map.length * MMAP_SIZE
  memory.write(BOOT_INFO_START + name, new TextEncoder().encode(`${LOADER_NAME}\0`))
  const texts = writeTexts(memory, [line, ...modules.map(({ commandLine }) => commandLine)])
  const list = alignUp(texts.end, 4)
  checkRoom(list + modules.length * MODULE_SIZE, modules.length)
  const flags = INFO_MEMORY | INFO_CMDLINE | INFO_MEM_MAP | INFO_BOOT_LOADER_NAME
  view.setUint32(0, flags | (modules.length > 0 ? INFO_MODS : 0), true)
  view.setUint32(4, BASE_MEMORY_END / 1024, true)
  view.setUint32(8, (memory.regions[0]!.size - HIGH_MEMORY_START) / 1024, true)
  view.setUint32(16, texts.addresses[0]!, true)
  view.setUint32(20, modules.length, true)
  view.setUint32(24, modules.length > 0 ? list : 0, true)
  view.setUint32(44, map.length * MMAP_SIZE, true)
  view.setUint32(48, BOOT_INFO_START + mmap, true)
  view.setUint32(64, BOOT_INFO_START + name, true)
  for (const [i, { address, size, type }] of map.entries()) {
    const at = mmap + i * MMAP_SIZE
    // The entry's size does not count the field that has it.
    view.setUint32(at, MMAP_SIZE - 4, true)
    view.setBigUint64(at + 4, BigInt(address), true)
    view.setBigUint64(at + 12, BigInt(size), true)
    view.setUint32(at + 20, type, true)
  }
  for (const [i, { address, size }] of modules.entries()) {
    const entry = memory.dataView(list + i * MODULE_SIZE, MODULE_SIZE)
    entry.setUint32(0, address, true)
    entry.setUint32(4, address + size, true)
    entry.setUint32(8, texts.addresses[1 + i]!, true)
  }
  return BOOT_INFO_START
}

function writeTexts(
  memory: GuestMemory,
  texts: readonly Uint8Array[],
): { addresses: number[]; end: number } {
  let end = COMMAND_LINE_START
  const addresses = texts.map((text) => {
    const address = end
    end += text.length
    checkRoom(end, texts.length - 1)
    memory.write(address, text)
    return address
  })
  return { addresses, end }
}

function checkRoom(end: number, modules: number): void {
  if (end <= COMMAND_LINE_START + COMMAND_LINE_SIZE) return
  throw new VmmError(
    'ERR_COMMAND_LINE',
    `modules: expected no more than ${COMMAND_LINE_SIZE} bytes with all command lines, got ${modules} modules`,
    { option: 'modules', value: modules, expected: `no more than ${COMMAND_LINE_SIZE} bytes` },
  )
}
