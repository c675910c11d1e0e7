/** An ELF file of symbols alone, for debuggers: names and addresses as /proc/kallsyms has them. */
export function symbolFile(symbols: readonly { name: string; address: bigint }[]): Buffer {
  const SHT_SYMTAB = 2
  const SHT_STRTAB = 3
  const SHT_NOBITS = 8
  const STT_FUNC_GLOBAL = 0x12
  const addresses = symbols.map(({ address }) => address).sort((a, b) => (a < b ? -1 : 1))
  const [start = 0n, end = start] = [addresses[0], addresses.at(-1)]

  const names = Buffer.from(`\0${symbols.map(({ name }) => name).join('\0')}\0`)
  const symtab = Buffer.alloc(24 * (symbols.length + 1))
  for (const [index, { name, address }] of symbols.entries()) {
    const at = 24 * (index + 1)
    symtab.writeUInt32LE(names.indexOf(`\0${name}\0`) + 1, at)
    symtab.writeUInt8(STT_FUNC_GLOBAL, at + 4)
    symtab.writeUInt16LE(1, at + 6)
    symtab.writeBigUInt64LE(address, at + 8)
  }
  const sections = Buffer.from('\0.text\0.symtab\0.strtab\0')
  const header = Buffer.alloc(64)
  const at = { symtab: 64, names: 64 + symtab.length, sections: 64 + symtab.length + names.length }
  const tableAt = at.sections + sections.length

  const section = (name: string, fields: Record<number, bigint>) => {
    const entry = Buffer.alloc(64)
    entry.writeUInt32LE(name === '' ? 0 : sections.indexOf(name), 0)
    for (const [offset, value] of Object.entries(fields)) {
      if (Number(offset) === 4 || Number(offset) === 40)
        entry.writeUInt32LE(Number(value), Number(offset))
      else entry.writeBigUInt64LE(value, Number(offset))
    }
    return entry
  }
  // sh_type 4, sh_flags 8, sh_addr 16, sh_offset 24, sh_size 32, sh_link 40, sh_entsize 56.
  const table = Buffer.concat([
    section('', {}),
    section('.text', { 4: BigInt(SHT_NOBITS), 8: 6n, 16: start, 32: end - start + 4096n }),
    section('.symtab', {
      ...{ 4: BigInt(SHT_SYMTAB), 24: BigInt(at.symtab), 32: BigInt(symtab.length) },
      ...{ 40: 3n, 56: 24n },
    }),
    section('.strtab', { 4: BigInt(SHT_STRTAB), 24: BigInt(at.names), 32: BigInt(names.length) }),
    section('.strtab', {
      ...{ 4: BigInt(SHT_STRTAB), 24: BigInt(at.sections), 32: BigInt(sections.length) },
    }),
  ])
  header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1])
  header.writeUInt16LE(2, 16) // ET_EXEC
  header.writeUInt16LE(62, 18) // EM_X86_64
  header.writeUInt32LE(1, 20)
  header.writeBigUInt64LE(BigInt(tableAt), 40)
  header.writeUInt16LE(64, 52)
  header.writeUInt16LE(64, 58)
  header.writeUInt16LE(5, 60)
  header.writeUInt16LE(4, 62)
  return Buffer.concat([header, symtab, names, sections, table])
}
