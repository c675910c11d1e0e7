import { alignUp } from '../util/bits.js'
import { checkInFile, type ProgramHeader } from './elf.js'
import type { ImageFile } from './image-file.js'

/** Bytes of namesz, descsz and type. */
const HEADER_SIZE = 12
/** More than any kernel's notes have. */
const MAX_NOTES_SIZE = 0x1_0000

/**
 * The description of the first note of a name and type in PT_NOTE segments (System V ABI, "Note Section").
 * @throws VmmError `ERR_KERNEL_IMAGE` for notes that reach beyond the file, or for a note beyond its segment
 */
export function findNote(
  kernel: ImageFile,
  segments: readonly ProgramHeader[],
  name: string,
  type: number,
): Uint8Array | undefined {
  for (const { offset, filesz, align } of segments) {
    checkInFile(kernel, 'its notes', offset, filesz)
    if (filesz > MAX_NOTES_SIZE) {
      throw kernel.error(`has notes of ${filesz} bytes`, filesz, `at most ${MAX_NOTES_SIZE}`)
    }
    const found = search(kernel, kernel.read(offset, filesz), align === 8 ? 8 : 4, name, type)
    if (found) return found
  }
  return undefined
}

function search(
  kernel: ImageFile,
  notes: Uint8Array,
  alignment: number,
  name: string,
  type: number,
): Uint8Array | undefined {
  const view = new DataView(notes.buffer)
  for (let at = 0; at <= notes.length - HEADER_SIZE; ) {
    const nameSize = view.getUint32(at, true)
    const descriptionSize = view.getUint32(at + 4, true)
    const nameAt = at + HEADER_SIZE
    const descriptionAt = alignUp(nameAt + nameSize, alignment)
    const end = descriptionAt + descriptionSize
    if (end > notes.length) {
      throw kernel.error(
        `has an ELF note of ${nameSize} and ${descriptionSize} bytes`,
        end,
        `notes within their segment of ${notes.length} bytes`,
      )
    }
    if (view.getUint32(at + 8, true) === type && isName(notes, nameAt, nameSize, name)) {
      return notes.slice(descriptionAt, end)
    }
    at = alignUp(end, alignment)
  }
  return undefined
}

/** Names are stored with a NUL at their end. */
function isName(notes: Uint8Array, at: number, size: number, name: string): boolean {
  return (
    size === name.length + 1 &&
    String.fromCharCode(...notes.subarray(at, at + size)) === `${name}\0`
  )
}
