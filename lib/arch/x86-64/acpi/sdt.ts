import { ascii } from './aml.js'

/** Bytes of the header that every table but RSDP and FACS begins with (ACPI 6.5, table 5.4). */
export const SDT_HEADER_SIZE = 36
export const CHECKSUM_OFFSET = 9

export const OEM_ID = 'NODKVM'
const OEM_TABLE_ID = 'NODEKVM '
const CREATOR_ID = 'NKVM'

/**
 * A table of `signature` with its header filled in, checksum included.
 * @param body what follows the header
 */
export function systemTable(
  signature: string,
  revision: number,
  body: Uint8Array | readonly number[],
): Uint8Array {
  const table = new Uint8Array(SDT_HEADER_SIZE + body.length)
  const view = new DataView(table.buffer)
  table.set(ascii(signature), 0)
  view.setUint32(4, table.length, true)
  view.setUint8(8, revision)
  table.set(ascii(OEM_ID), 10)
  table.set(ascii(OEM_TABLE_ID), 16)
  view.setUint32(24, 1, true)
  table.set(ascii(CREATOR_ID), 28)
  view.setUint32(32, 1, true)
  table.set(body, SDT_HEADER_SIZE)
  setChecksum(table, CHECKSUM_OFFSET, table.length)
  return table
}

/** Sets the byte at `offset` so that the first `length` bytes add up to 0. */
export function setChecksum(table: Uint8Array, offset: number, length: number): void {
  table[offset] = 0
  table[offset] = -table.subarray(0, length).reduce((sum, byte) => sum + byte, 0) & 0xff
}
