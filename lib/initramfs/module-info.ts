import { invalidOption } from '../errors.js'

/** What a kernel module says of itself in its `.modinfo` section. */
export interface ModuleInfo {
  /** As `lsmod` shows it, with underscores. */
  readonly name: string | undefined
  /** Modules that must be loaded before. */
  readonly depends: readonly string[]
  /** Modules that it asks for at run time and had better find loaded (`softdep=pre:`). */
  readonly softDepends: readonly string[]
}

const ELF64_HEADER_SIZE = 64
const ELF64_SECTION_SIZE = 64

/**
 * Reads the `.modinfo` section of a kernel module: NUL-separated `key=value` strings (scripts/mod/modpost.c).
 * @throws VmmError `ERR_INVALID_OPTION` if it is no 64-bit little-endian ELF object with such a section
 */
export function readModuleInfo(module: Uint8Array): ModuleInfo {
  const info: { name: string | undefined; depends: string[]; softDepends: string[] } = {
    name: undefined,
    depends: [],
    softDepends: [],
  }
  for (const line of Buffer.from(modinfoSection(module)).toString('latin1').split('\0')) {
    const equals = line.indexOf('=')
    const value = line.slice(equals + 1)
    switch (line.slice(0, Math.max(equals, 0))) {
      case 'name':
        info.name = value
        break
      case 'depends':
        info.depends.push(...value.split(',').filter((name) => name !== ''))
        break
      case 'softdep':
        info.softDepends.push(...preDependencies(value))
        break
    }
  }
  return info
}

/** `pre: a b post: c` gives a and b. */
function preDependencies(softdep: string): string[] {
  const pre = /(?:^|\s)pre:(.*?)(?:\spost:|$)/.exec(softdep)?.[1] ?? ''
  return pre.split(/\s+/).filter((name) => name !== '')
}

/** The ELF specification's "Section Header"; every offset is checked, as the file may be cut short. */
function modinfoSection(module: Uint8Array): Uint8Array {
  const view = new DataView(module.buffer, module.byteOffset, module.byteLength)
  const bad = (what: string) => invalidOption('module', `${module.length} bytes`, what)
  // ELF magic, ELFCLASS64, ELFDATA2LSB.
  if (
    module.length < ELF64_HEADER_SIZE ||
    view.getUint32(0) !== 0x7f454c46 ||
    view.getUint16(4) !== 0x0201
  ) {
    throw bad('a 64-bit little-endian ELF object')
  }
  const sectionsAt = Number(view.getBigUint64(40, true))
  const count = view.getUint16(60, true)
  const namesIndex = view.getUint16(62, true)
  if (sectionsAt > module.length - count * ELF64_SECTION_SIZE || namesIndex >= count) {
    throw bad('an ELF object with its section headers')
  }
  const section = (index: number) => {
    const at = sectionsAt + index * ELF64_SECTION_SIZE
    const offset = Number(view.getBigUint64(at + 24, true))
    const size = Number(view.getBigUint64(at + 32, true))
    if (size > module.length || offset > module.length - size)
      throw bad('an ELF object that is not cut short')
    return { name: view.getUint32(at, true), bytes: module.subarray(offset, offset + size) }
  }
  const names = section(namesIndex).bytes
  for (let index = 1; index < count; index++) {
    const { name, bytes } = section(index)
    const end = names.indexOf(0, name)
    if (end >= 0 && Buffer.from(names.subarray(name, end)).toString('latin1') === '.modinfo')
      return bytes
  }
  throw bad('an ELF object with a .modinfo section')
}
