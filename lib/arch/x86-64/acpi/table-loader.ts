import { type AcpiOptions, buildAcpiTables } from './acpi-tables.js'
import { RSDP_CHECKSUM, RSDP_EXTENDED_CHECKSUM, RSDP_V1_SIZE, RSDP_XSDT_ADDRESS } from './rsdp.js'
import { CHECKSUM_OFFSET, SDT_HEADER_SIZE } from './sdt.js'

/** Files from which firmware puts together the ACPI tables (QEMU hw/acpi/bios-linker-loader.c). */
export const ACPI_TABLES_FILE = 'etc/acpi/tables'
export const ACPI_RSDP_FILE = 'etc/acpi/rsdp'
export const TABLE_LOADER_FILE = 'etc/table-loader'

const COMMAND_SIZE = 128
const FILE_NAME_SIZE = 56
const ALLOCATE = 1
const ADD_POINTER = 2
const ADD_CHECKSUM = 3
const ZONE_HIGH = 1
/** Below 1 MiB, where the RSDP is looked for. */
const ZONE_FSEG = 2
const TABLES_ALIGNMENT = 64

// What of the tables is a pointer. XSDT entries are of 8 bytes, from its header on.
const FADT_POINTERS = [
  [36, 4], // FIRMWARE_CTRL
  [40, 4], // DSDT
  [140, 8], // X_DSDT
] as const

/**
 * The ACPI tables for firmware that places them itself: the tables with offsets in place of addresses, the RSDP, and a
 * list of commands that tells how to put them together.
 */
export function acpiLoaderFiles(options: Omit<AcpiOptions, 'address'>): Record<string, Uint8Array> {
  // Built for address 0, addresses are offsets in the file; the RSDP's place stays empty.
  const { pieces } = buildAcpiTables({ ...options, address: 0 })
  const end = Math.max(...pieces.map(({ address, bytes }) => address + bytes.length))
  const tables = new Uint8Array(end)
  for (const { address, bytes } of pieces) if (address > 0) tables.set(bytes, address)
  const rsdp = pieces.find(({ address }) => address === 0)!.bytes
  const view = new DataView(tables.buffer)
  const xsdt = Number(new DataView(rsdp.buffer).getBigUint64(RSDP_XSDT_ADDRESS, true))
  const xsdtSize = view.getUint32(xsdt + 4, true)
  const files = { [ACPI_TABLES_FILE]: tables, [ACPI_RSDP_FILE]: rsdp }
  const script = new LoaderScript(files)
  script.allocate(ACPI_RSDP_FILE, 16, ZONE_FSEG)
  script.allocate(ACPI_TABLES_FILE, TABLES_ALIGNMENT, ZONE_HIGH)
  for (let at = xsdt + SDT_HEADER_SIZE; at < xsdt + xsdtSize; at += 8) {
    script.addPointer(ACPI_TABLES_FILE, at, 8)
    const table = Number(view.getBigUint64(at, true))
    if (String.fromCharCode(...tables.subarray(table, table + 4)) !== 'FACP') continue
    for (const [offset, size] of FADT_POINTERS) {
      script.addPointer(ACPI_TABLES_FILE, table + offset, size)
    }
    script.addChecksum(
      ACPI_TABLES_FILE,
      table,
      table + CHECKSUM_OFFSET,
      view.getUint32(table + 4, true),
    )
  }
  script.addChecksum(ACPI_TABLES_FILE, xsdt, xsdt + CHECKSUM_OFFSET, xsdtSize)
  script.addPointer(ACPI_RSDP_FILE, RSDP_XSDT_ADDRESS, 8)
  script.addChecksum(ACPI_RSDP_FILE, 0, RSDP_CHECKSUM, RSDP_V1_SIZE)
  script.addChecksum(ACPI_RSDP_FILE, 0, RSDP_EXTENDED_CHECKSUM, rsdp.length)
  return { ...files, [TABLE_LOADER_FILE]: script.bytes() }
}

type LoadedFile = typeof ACPI_TABLES_FILE | typeof ACPI_RSDP_FILE

class LoaderScript {
  readonly #files: Readonly<Record<LoadedFile, Uint8Array>>
  readonly #commands: Uint8Array[] = []

  constructor(files: Readonly<Record<LoadedFile, Uint8Array>>) {
    this.#files = files
  }

  /** Has memory allocated for a file, and the file put there. */
  allocate(file: string, alignment: number, zone: number): void {
    const view = this.#command(ALLOCATE, [file])
    view.setUint32(4 + FILE_NAME_SIZE, alignment, true)
    view.setUint8(8 + FILE_NAME_SIZE, zone)
  }

  /** Has the address of the tables added to the offset that stands at `offset`. */
  addPointer(file: string, offset: number, size: number): void {
    const view = this.#command(ADD_POINTER, [file, ACPI_TABLES_FILE])
    view.setUint32(4 + 2 * FILE_NAME_SIZE, offset, true)
    view.setUint8(8 + 2 * FILE_NAME_SIZE, size)
  }

  /** Has the checksum at `at` made, of `length` bytes from `start` on. It is 0 in the file: OVMF counts what is there. */
  addChecksum(file: LoadedFile, start: number, at: number, length: number): void {
    this.#files[file][at] = 0
    const view = this.#command(ADD_CHECKSUM, [file])
    view.setUint32(4 + FILE_NAME_SIZE, at, true)
    view.setUint32(8 + FILE_NAME_SIZE, start, true)
    view.setUint32(12 + FILE_NAME_SIZE, length, true)
  }

  bytes(): Uint8Array {
    const all = new Uint8Array(this.#commands.length * COMMAND_SIZE)
    for (const [i, command] of this.#commands.entries()) all.set(command, i * COMMAND_SIZE)
    return all
  }

  #command(command: number, files: readonly string[]): DataView {
    const bytes = new Uint8Array(COMMAND_SIZE)
    const view = new DataView(bytes.buffer)
    view.setUint32(0, command, true)
    for (const [i, file] of files.entries()) {
      bytes.set(new TextEncoder().encode(file), 4 + i * FILE_NAME_SIZE)
    }
    this.#commands.push(bytes)
    return view
  }
}
