import type { EntryState } from '../arch/x86-64/entry-state.js'
import type { GuestMemory } from '../memory/guest-memory.js'
import type { BootModule } from './boot-modules.js'
import type { ImageFile } from './image-file.js'

/** What a boot protocol is given. */
export interface BootRequest {
  /** RAM from address 0 on, at least 1 MiB of it, all zero where nothing has been written yet. */
  readonly memory: GuestMemory
  readonly kernel: ImageFile
  readonly initrd: ImageFile | undefined
  /** Further files, for the protocols that know of such. */
  readonly modules: readonly BootModule[]
  /** The user's command line, then what the machine adds to it. */
  readonly commandLine: readonly string[]
  /** Guest-physical address of the ACPI RSDP, if there is one. */
  readonly rsdp: number | undefined
}

/** One way to start a kernel: tells whether an image is its own, and puts it into memory. */
export interface BootProtocol {
  /** For people: `'Linux bzImage'`. */
  readonly name: string
  /** Whether the image's first bytes (up to {@link HEAD_SIZE}) are of this kind. Says nothing of whether it is whole. */
  recognizes(head: Uint8Array, kernel: ImageFile): boolean
  /**
   * Writes the kernel, the initrd, the command line and the tables into memory.
   * @throws VmmError `ERR_KERNEL_IMAGE`, `ERR_INITRD` or `ERR_COMMAND_LINE`
   */
  load(request: BootRequest): EntryState
}

/** Bytes of an image that {@link BootProtocol.recognizes} sees. */
export const HEAD_SIZE = 8192
