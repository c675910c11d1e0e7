import { PAGE_SIZE } from '../arch/x86-64/layout.js'
import { invalidOption } from '../errors.js'
import type { GuestMemory } from '../memory/guest-memory.js'
import { alignUp } from '../util/bits.js'
import type { BootRequest } from './boot-protocol.js'
import { encodeCommandLine } from './command-line.js'
import type { ImageFile } from './image-file.js'
import type { MemoryRange } from './initrd.js'

/** A file that a boot loader loads besides the kernel, with a command line of its own. */
export interface BootModule {
  readonly image: ImageFile
  readonly commandLine: string
}

/** A module in memory, and its command line, closed by a NUL. */
export interface PlacedModule extends MemoryRange {
  readonly commandLine: Uint8Array
}

/** More than the command lines of all modules together may have. */
const COMMAND_LINE_LIMIT = 4096

/** The initrd, if there is one, as the first module, then the others. */
export function allModules({ initrd, modules }: BootRequest): readonly BootModule[] {
  return initrd ? [{ image: initrd, commandLine: 'initrd' }, ...modules] : modules
}

/**
 * Puts modules one behind the other on page boundaries.
 * @param floor first address after all that the kernel needs
 * @param ceiling first address that they may not have, if there is one below the end of low memory
 * @throws VmmError `ERR_INITRD` if one is empty or does not fit, `ERR_COMMAND_LINE`
 */
export function placeModules(
  memory: GuestMemory,
  modules: readonly BootModule[],
  floor: number,
  ceiling = Number.POSITIVE_INFINITY,
): PlacedModule[] {
  const { guestAddress, size: ram } = memory.regions[0]!
  const top = Math.min(guestAddress + ram, ceiling)
  let next = floor
  return modules.map(({ image, commandLine }) => {
    const { size } = image
    if (size === 0) throw image.error('is empty', 0, 'at least one byte')
    const address = alignUp(next, PAGE_SIZE)
    if (size > top - address) {
      const room = Math.max(0, top - address)
      throw image.error(`has ${size} bytes`, size, `at most ${room}, the memory that is left`)
    }
    image.readInto(memory.view(address, size), 0)
    next = address + size
    return { address, size, commandLine: encodeCommandLine([commandLine], COMMAND_LINE_LIMIT) }
  })
}

/** @throws VmmError `ERR_INVALID_OPTION` if there are modules for a kernel whose boot protocol knows none */
export function refuseModules({ modules }: BootRequest, kernel: string): void {
  if (modules.length === 0) return
  throw invalidOption('modules', modules, `none with ${kernel}`)
}
