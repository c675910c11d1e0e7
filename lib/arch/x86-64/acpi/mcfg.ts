import { le16, le32, le64 } from '../../../util/bits.js'
import { systemTable } from './sdt.js'

/** Bytes of configuration space in memory for each bus. */
export const ECAM_BUS_SIZE = 0x10_0000

/** Where PCI's configuration space is in memory, from bus 0 on. */
export interface EcamWindow {
  readonly address: number
  /** Bytes: 1 MiB for each bus. */
  readonly size: number
}

/** Memory-mapped configuration space description table, of one segment group (PCI Firmware 3.3, section 4.1.2). */
export function buildMcfg({ address, size }: EcamWindow): Uint8Array {
  const segment = 0
  const firstBus = 0
  return systemTable('MCFG', 1, [
    ...le64(0),
    ...le64(address),
    ...le16(segment),
    ...[firstBus, size / ECAM_BUS_SIZE - 1],
    ...le32(0),
  ])
}
