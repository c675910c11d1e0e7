import { littleEndian } from '../../../util/bits.js'
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
    ...littleEndian(0, 8),
    ...littleEndian(address, 8),
    ...littleEndian(segment, 2),
    ...[firstBus, size / ECAM_BUS_SIZE - 1],
    ...littleEndian(0, 4),
  ])
}
