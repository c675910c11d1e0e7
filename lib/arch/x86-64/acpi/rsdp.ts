import { ascii } from './aml.js'
import { OEM_ID, SDT_HEADER_SIZE, setChecksum, systemTable } from './sdt.js'

export const RSDP_SIZE = 36
/** The part that ACPI 1.0 had has a checksum of its own. */
export const RSDP_V1_SIZE = 20
export const RSDP_CHECKSUM = 8
export const RSDP_XSDT_ADDRESS = 24
export const RSDP_EXTENDED_CHECKSUM = 32

/** Root System Description Pointer, revision 2 (ACPI 6.5, section 5.2.5.3). */
export function buildRsdp(xsdtAddress: number): Uint8Array {
  const table = new Uint8Array(RSDP_SIZE)
  const view = new DataView(table.buffer)
  table.set(ascii('RSD PTR '), 0)
  table.set(ascii(OEM_ID), 9)
  view.setUint8(15, 2)
  view.setUint32(20, RSDP_SIZE, true)
  view.setBigUint64(RSDP_XSDT_ADDRESS, BigInt(xsdtAddress), true)
  setChecksum(table, RSDP_CHECKSUM, RSDP_V1_SIZE)
  setChecksum(table, RSDP_EXTENDED_CHECKSUM, RSDP_SIZE)
  return table
}

/** Extended System Description Table (ACPI 6.5, section 5.2.8). */
export function buildXsdt(tableAddresses: readonly number[]): Uint8Array {
  const body = new DataView(new ArrayBuffer(tableAddresses.length * 8))
  for (const [i, address] of tableAddresses.entries())
    body.setBigUint64(i * 8, BigInt(address), true)
  return systemTable('XSDT', 1, new Uint8Array(body.buffer))
}

export function xsdtSize(tables: number): number {
  return SDT_HEADER_SIZE + tables * 8
}
