import type { EntryState } from '../arch/x86-64/entry-state.js'
import { CODE_SEGMENT_32, DATA_SEGMENT, TASK_SEGMENT, writeGdt } from '../arch/x86-64/gdt.js'
import { BOOT_GDT_START, BOOT_INFO_START, PAGE_SIZE } from '../arch/x86-64/layout.js'
import { invalidOption } from '../errors.js'
import type { GuestMemory } from '../memory/guest-memory.js'
import type { PlacedModule } from './boot-modules.js'
import { e820Map } from './e820.js'
import { checkEntry, type ElfImage } from './elf.js'
import { findNote } from './elf-notes.js'
import type { ImageFile } from './image-file.js'
import type { MemoryRange } from './initrd.js'

// Xen's x86/HVM direct boot ABI (xen/docs/misc/pvh.pandoc; xen/include/public/arch-x86/hvm/start_info.h, elfnote.h).
const XEN_ELFNOTE_PHYS32_ENTRY = 18
const XEN_HVM_START_MAGIC_VALUE = 0x336e_c578
const START_INFO_VERSION = 1
const START_INFO_SIZE = 56
const MODLIST_ENTRY_SIZE = 32
const MEMMAP_ENTRY_SIZE = 24

const CR0_PE = 1n << 0n
const CR0_ET = 1n << 4n

/**
 * The 32-bit entry point that a kernel's note gives, or `undefined` if it has no such note.
 * @throws VmmError `ERR_KERNEL_IMAGE` if the note or the address cannot be meant
 */
export function pvhEntryPoint(kernel: ImageFile, elf: ElfImage): number | undefined {
  const description = findNote(kernel, elf.notes, 'Xen', XEN_ELFNOTE_PHYS32_ENTRY)
  if (description === undefined) return undefined
  const { length } = description
  if (length !== 4 && length !== 8) {
    throw kernel.error(`has a PVH note of ${length} bytes`, length, '4 or 8 bytes')
  }
  const view = new DataView(description.buffer)
  const entry = length === 4 ? view.getUint32(0, true) : Number(view.getBigUint64(0, true))
  return checkEntry(kernel, 'PVH entry point', entry, elf)
}

/** What the start info tells the kernel. */
export interface StartInfo {
  readonly commandLineAddress: number
  readonly initrd: MemoryRange | undefined
  readonly modules: readonly PlacedModule[]
  readonly rsdp: number | undefined
}

/** Writes `struct hvm_start_info` with the module list and the memory map behind it. */
export function writeStartInfo(memory: GuestMemory, info: StartInfo): number {
  memory.fill(BOOT_INFO_START, PAGE_SIZE)
  const view = memory.dataView(BOOT_INFO_START, PAGE_SIZE)
  const set64 = (offset: number, value: number) => view.setBigUint64(offset, BigInt(value), true)
  const modlist = START_INFO_SIZE
  const files: readonly (MemoryRange & { readonly commandLine?: Uint8Array })[] = [
    ...(info.initrd ? [info.initrd] : []),
    ...info.modules,
  ]
  const memmap = modlist + files.length * MODLIST_ENTRY_SIZE
  const map = e820Map(memory.ram)
  const texts = memmap + map.length * MEMMAP_ENTRY_SIZE
  checkRoom(texts, info.modules)
  view.setUint32(0, XEN_HVM_START_MAGIC_VALUE, true)
  view.setUint32(4, START_INFO_VERSION, true)
  view.setUint32(12, files.length, true)
  set64(16, files.length > 0 ? BOOT_INFO_START + modlist : 0)
  set64(24, info.commandLineAddress)
  set64(32, info.rsdp ?? 0)
  set64(40, BOOT_INFO_START + memmap)
  view.setUint32(48, map.length, true)
  let text = BOOT_INFO_START + texts
  for (const [i, file] of files.entries()) {
    const at = modlist + i * MODLIST_ENTRY_SIZE
    set64(at, file.address)
    set64(at + 8, file.size)
    if (file.commandLine === undefined) continue
    set64(at + 16, text)
    memory.write(text, file.commandLine)
    text += file.commandLine.length
  }
  for (const [i, { address, size, type }] of map.entries()) {
    const at = memmap + i * MEMMAP_ENTRY_SIZE
    set64(at, address)
    set64(at + 8, size)
    view.setUint32(at + 16, type, true)
  }
  return BOOT_INFO_START
}

function checkRoom(texts: number, modules: readonly PlacedModule[]): void {
  const size = modules.reduce((sum, { commandLine }) => sum + commandLine.length, texts)
  if (size <= PAGE_SIZE) return
  throw invalidOption(
    'modules',
    modules,
    `fewer, or with shorter command lines: ${PAGE_SIZE} bytes`,
  )
}

/** 32-bit protected mode without paging, EBX pointing to the start info. */
export function pvhEntry(memory: GuestMemory, entryPoint: number, startInfo: number): EntryState {
  return {
    rip: BigInt(entryPoint),
    rbx: BigInt(startInfo),
    rsp: BigInt(BOOT_GDT_START),
    cr0: CR0_PE | CR0_ET,
    cr3: 0n,
    cr4: 0n,
    efer: 0n,
    cs: CODE_SEGMENT_32,
    data: DATA_SEGMENT,
    tr: TASK_SEGMENT,
    ...writeGdt(memory, CODE_SEGMENT_32),
  }
}
