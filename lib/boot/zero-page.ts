import { PAGE_SIZE, ZERO_PAGE_START } from '../arch/x86-64/layout.js'
import type { GuestMemory } from '../memory/guest-memory.js'
import { e820Map, writeE820 } from './e820.js'
import type { MemoryRange } from './initrd.js'
import * as setup from './linux-setup.js'

/** What the zero page tells the kernel besides its own setup header. */
export interface ZeroPage {
  readonly commandLineAddress: number
  readonly initrd: MemoryRange | undefined
  readonly rsdp: number | undefined
}

/**
 * Writes `struct boot_params` (Linux Documentation/arch/x86/zero-page.rst).
 * @param header the kernel's setup header from offset 0x1f1 on; empty for an ELF, which has none
 */
export function writeZeroPage(memory: GuestMemory, header: Uint8Array, page: ZeroPage): void {
  memory.fill(ZERO_PAGE_START, PAGE_SIZE)
  memory.write(ZERO_PAGE_START + setup.SETUP_HEADER_START, header)
  const view = memory.dataView(ZERO_PAGE_START, PAGE_SIZE)
  view.setUint16(setup.BOOT_FLAG, setup.BOOT_FLAG_MAGIC, true)
  view.setUint32(setup.HEADER, setup.HEADER_MAGIC, true)
  view.setUint8(setup.TYPE_OF_LOADER, setup.UNDEFINED_LOADER)
  view.setUint8(setup.LOADFLAGS, view.getUint8(setup.LOADFLAGS) | setup.LOADED_HIGH)
  view.setUint32(setup.CMD_LINE_PTR, page.commandLineAddress, true)
  view.setUint32(setup.RAMDISK_IMAGE, page.initrd?.address ?? 0, true)
  view.setUint32(setup.RAMDISK_SIZE, page.initrd?.size ?? 0, true)
  view.setBigUint64(setup.SETUP_DATA, 0n, true)
  view.setBigUint64(setup.ACPI_RSDP_ADDR, BigInt(page.rsdp ?? 0), true)
  const entries = e820Map(memory.ram)
  view.setUint8(setup.E820_ENTRIES, entries.length)
  writeE820(view, setup.E820_TABLE, entries)
}
