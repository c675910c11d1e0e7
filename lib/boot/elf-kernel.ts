import type { EntryState } from '../arch/x86-64/entry-state.js'
import { COMMAND_LINE_START } from '../arch/x86-64/layout.js'
import { placeModules, refuseModules } from './boot-modules.js'
import type { BootProtocol, BootRequest } from './boot-protocol.js'
import { encodeCommandLine } from './command-line.js'
import { checkEntry, isElf, loadSegments, parseElf } from './elf.js'
import { placeInitrd } from './initrd.js'
import { linuxEntry64 } from './linux-entry.js'
import { pvhEntry, pvhEntryPoint, writeStartInfo } from './pvh.js'
import { writeZeroPage } from './zero-page.js'

/** Linux's COMMAND_LINE_SIZE on x86 without the closing NUL: an ELF image does not say its own. */
const COMMAND_LINE_LIMIT = 2047
/** Where Linux's own boot code wants an initrd to end; an ELF image does not say. */
const INITRD_MAX = 0x7fff_ffff

/**
 * An uncompressed kernel: by PVH if it has the note for it, as Linux has with CONFIG_PVH, else by Linux's 64-bit boot
 * protocol, whose entry point is the ELF's own.
 */
export const elfKernel: BootProtocol = {
  name: 'an ELF kernel (vmlinux)',

  recognizes: isElf,

  load(request: BootRequest): EntryState {
    const { memory, kernel, initrd, commandLine, rsdp } = request
    const elf = parseElf(kernel)
    const pvh = pvhEntryPoint(kernel, elf)
    if (pvh === undefined && !elf.is64Bit) {
      throw kernel.error(
        'is a 32-bit ELF without a PVH note',
        32,
        'a 64-bit kernel, or one for PVH',
      )
    }
    const entry = pvh ?? checkEntry(kernel, 'entry point', elf.entry, elf)
    const line = encodeCommandLine(commandLine, COMMAND_LINE_LIMIT)
    const end = loadSegments(kernel, memory, elf.segments)
    memory.write(COMMAND_LINE_START, line)
    const common = { commandLineAddress: COMMAND_LINE_START, rsdp }
    const placed = initrd && placeInitrd(memory, initrd, end, INITRD_MAX)
    if (pvh !== undefined) {
      const modules = placeModules(memory, request.modules, end, placed?.address)
      return pvhEntry(memory, pvh, writeStartInfo(memory, { ...common, initrd: placed, modules }))
    }
    refuseModules(request, this.name)
    writeZeroPage(memory, new Uint8Array(0), { ...common, initrd: placed })
    return linuxEntry64(memory, entry)
  },
}
