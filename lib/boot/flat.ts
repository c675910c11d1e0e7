import type { EntryState, Segment } from '../arch/x86-64/entry-state.js'
import { DATA_SEGMENT, TASK_SEGMENT } from '../arch/x86-64/gdt.js'
import * as layout from '../arch/x86-64/layout.js'
import { invalidOption } from '../errors.js'
import type { GuestMemory } from '../memory/guest-memory.js'
import { hex } from '../util/bits.js'
import { refuseModules } from './boot-modules.js'
import type { BootProtocol, BootRequest } from './boot-protocol.js'
import { encodeCommandLine } from './command-line.js'
import type { ImageFile } from './image-file.js'
import { linuxEntry64 } from './linux-entry.js'
import { pvhEntry } from './pvh.js'

/** What the processor is in at the first instruction. */
export type FlatMode = 'real' | 'protected' | 'long'

/** Where bare machine code lies, and how it is started. */
export interface FlatOptions {
  /** What the CPU is in at the first instruction: 16-bit real mode, 32-bit protected mode without paging, or long mode. */
  readonly mode: FlatMode
  /** Where the file goes. 0x7c00 in real mode, else 1 MiB, unless told. */
  readonly address?: number
  /** The first instruction; the file's first byte unless told. In real mode below 1 MiB. */
  readonly entry?: number
}

const CR0_ET = 1n << 4n
const REAL_MODE_LIMIT = 0x10_0000

/** What the tables that a mode needs take up in low memory. */
const TABLES: Readonly<Record<FlatMode, readonly (readonly [start: number, end: number])[]>> = {
  real: [],
  protected: [[layout.BOOT_GDT_START, layout.BOOT_IDT_START + 8]],
  long: [
    [layout.BOOT_GDT_START, layout.BOOT_IDT_START + 8],
    [layout.BOOT_PAGE_TABLES_START, layout.BOOT_PAGE_TABLES_START + layout.BOOT_PAGE_TABLES_SIZE],
  ],
}

/**
 * A file of bare machine code. Segments are flat; in long mode the first 4 GiB are mapped onto themselves. ESI or RSI points
 * to the command line, closed by a NUL. There is no magic number to know such a file by: this protocol is chosen by name.
 * @throws VmmError `ERR_INVALID_OPTION` for an address or entry that the mode cannot have
 */
export function flatBinary(options: FlatOptions): BootProtocol {
  const { mode } = options
  const address = options.address ?? (mode === 'real' ? 0x7c00 : layout.HIGH_MEMORY_START)
  const entry = options.entry ?? address
  const limit = mode === 'real' ? REAL_MODE_LIMIT : layout.MMIO_HOLE_START
  checkAddress('address', address, limit)
  checkAddress('entry', entry, limit)
  return {
    name: `a flat binary for ${mode} mode`,
    recognizes: () => false,
    load: (request: BootRequest) => {
      const { memory, kernel, initrd, commandLine } = request
      refuseModules(request, 'a flat binary')
      if (initrd) throw initrd.error('has no place', initrd.size, 'none with a flat binary')
      checkPlace(memory, kernel, mode, address)
      if (entry < address || entry - address >= kernel.size) {
        throw kernel.error(`has ${kernel.size} bytes`, kernel.size, `its entry ${hex(entry)} in it`)
      }
      const line = encodeCommandLine(commandLine, layout.COMMAND_LINE_SIZE - 1)
      memory.write(layout.COMMAND_LINE_START, line)
      kernel.readInto(memory.view(address, kernel.size), 0)
      return { ...entryState(memory, mode, entry), rsi: BigInt(layout.COMMAND_LINE_START) }
    },
  }
}

function entryState(memory: GuestMemory, mode: FlatMode, entry: number): EntryState {
  switch (mode) {
    case 'real':
      return realModeEntry(entry)
    case 'protected':
      return { ...pvhEntry(memory, entry, 0), rbx: 0n }
    case 'long':
      return linuxEntry64(memory, entry)
  }
}

/** CS is the highest that leaves an IP; the stack is below the image's customary place. */
function realModeEntry(entry: number): EntryState {
  const code = realModeSegment((entry >> 4) & 0xf000)
  return {
    rip: BigInt(entry) - code.base,
    rsp: 0x7000n,
    cr0: CR0_ET,
    cr3: 0n,
    cr4: 0n,
    efer: 0n,
    cs: { ...code, type: 0xb },
    data: { ...realModeSegment(0), type: DATA_SEGMENT.type },
    tr: TASK_SEGMENT,
    gdt: { base: 0n, limit: 0 },
    // The interrupt vector table.
    idt: { base: 0n, limit: 0x3ff },
  }
}

function realModeSegment(selector: number): Omit<Segment, 'type'> {
  return {
    base: BigInt(selector * 16),
    limit: 0xffff,
    selector,
    present: 1,
    dpl: 0,
    db: 0,
    s: 1,
    l: 0,
    g: 0,
  }
}

function checkAddress(option: string, value: number, limit: number): void {
  if (Number.isInteger(value) && value >= 0 && value < limit) return
  throw invalidOption(option, value, `an address below ${hex(limit)}`)
}

function checkPlace(memory: GuestMemory, kernel: ImageFile, mode: FlatMode, address: number): void {
  if (kernel.size === 0) throw kernel.error('is empty', 0, 'at least one byte')
  const end = address + kernel.size
  const line = [layout.COMMAND_LINE_START, layout.COMMAND_LINE_START + 1] as const
  const clash = [...TABLES[mode], line].find(([start, stop]) => address < stop && start < end)
  if (clash) {
    throw kernel.error(
      `would lie at ${hex(address)} to ${hex(end)}`,
      address,
      `a place beside the machine's own tables at ${hex(clash[0])} to ${hex(clash[1])}`,
    )
  }
  if (memory.findRegion(address, kernel.size)) return
  throw kernel.error(
    `has ${kernel.size} bytes`,
    kernel.size,
    `no more than fit from ${hex(address)} on in ${memory.size} bytes of memory`,
  )
}
