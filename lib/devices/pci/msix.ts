import type { BusDevice } from '../../bus/bus-device.js'
import type { MsiLine } from '../../interrupt/irq-line.js'
import type { SignalEvent } from '../../util/signal-event.js'
import {
  PCI_MSIX_ENTRY_CTRL_MASKBIT,
  PCI_MSIX_ENTRY_DATA,
  PCI_MSIX_ENTRY_LOWER_ADDR,
  PCI_MSIX_ENTRY_SIZE,
  PCI_MSIX_ENTRY_UPPER_ADDR,
  PCI_MSIX_ENTRY_VECTOR_CTRL,
  PCI_MSIX_FLAGS,
  PCI_MSIX_FLAGS_ENABLE,
  PCI_MSIX_FLAGS_MASKALL,
  PCI_MSIX_PBA,
  PCI_MSIX_TABLE,
} from './abi.js'
import type { ConfigSpace } from './config-space.js'

/** Where a device has its MSI-X structures. */
export interface MsixPlace {
  /** From 1 to 2048. */
  readonly vectors: number
  /** Index of the base address register whose window they lie in. */
  readonly bar: number
  /** Offset of the table in that window, a multiple of 8: 16 bytes for each vector. */
  readonly tableOffset: number
  /** Offset of the pending bits, a multiple of 8: a bit for each vector, in whole 8 bytes. */
  readonly pbaOffset: number
}

/** The capability's bytes after its id and pointer (PCI 3.0, 6.8.2). */
export function msixCapability({ vectors, bar, tableOffset, pbaOffset }: MsixPlace): Uint8Array {
  const body = new DataView(new ArrayBuffer(10))
  body.setUint16(PCI_MSIX_FLAGS - 2, vectors - 1, true)
  body.setUint32(PCI_MSIX_TABLE - 2, tableOffset | bar, true)
  body.setUint32(PCI_MSIX_PBA - 2, pbaOffset | bar, true)
  return new Uint8Array(body.buffer)
}

/** Which bits of those bytes the guest may write. */
export function msixWritable(): Uint8Array {
  const mask = new DataView(new ArrayBuffer(10))
  mask.setUint16(PCI_MSIX_FLAGS - 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL, true)
  return new Uint8Array(mask.buffer)
}

const ENTRY_WORDS = PCI_MSIX_ENTRY_SIZE / 4

/**
 * MSI-X (PCI 3.0, 6.8.2): a table of messages in one of the device's windows, each of which can be masked, and bits for
 * those that were raised meanwhile. Entries are written by aligned accesses of 4 bytes, or of 8 as two of them; others do
 * nothing and read as all ones.
 */
export class Msix {
  /** The table, for the device's window. */
  readonly table: BusDevice
  /** The bits of what was raised while it was masked, for the device's window. */
  readonly pendingBits: BusDevice
  /** How many messages there are. */
  readonly vectors: number
  /** Told when {@link event} may give something else. */
  onChange: () => void = () => {}
  readonly #config: ConfigSpace
  /** Of the capability. */
  readonly #offset: number
  readonly #words: Uint32Array
  readonly #pending: Uint32Array
  #lines: readonly MsiLine[] = []

  constructor(name: string, config: ConfigSpace, offset: number, { vectors }: MsixPlace) {
    this.#config = config
    this.#offset = offset
    this.vectors = vectors
    this.#words = new Uint32Array(vectors * ENTRY_WORDS)
    // 6.8.2.9: pending bits come in QWORDs.
    this.#pending = new Uint32Array(2 * Math.ceil(vectors / 64))
    this.#clear()
    this.table = wordDevice(
      `${name}-msix-table`,
      (word) => this.#words[word],
      (word, value) => this.#writeTable(word, value),
    )
    this.pendingBits = wordDevice(
      `${name}-msix-pba`,
      (word) => this.#pending[word],
      () => {}, // 6.8.2.10: writes have no effect
    )
  }

  /** While it is, the device does not use its interrupt pin. */
  get enabled(): boolean {
    return (this.#flags & PCI_MSIX_FLAGS_ENABLE) !== 0
  }

  /** Gives the device its lines, one for each vector. */
  connect(lines: readonly MsiLine[]): void {
    this.#lines = lines
  }

  /** Sends the message of `vector`, or notes that it is to be sent once nothing masks it. Others than 0 to `vectors - 1` do nothing. */
  raise(vector: number): void {
    if (!this.enabled || vector >= this.vectors) return
    if (this.#masked(vector)) this.#pending[vector >> 5]! |= 1 << (vector & 31)
    else this.#lines[vector]?.raise()
  }

  /** What sends the message of `vector` without us; `undefined` while it is masked, not enabled or there is no such thing. */
  event(vector: number): SignalEvent | undefined {
    if (!this.enabled || vector >= this.vectors || this.#masked(vector)) return undefined
    return this.#lines[vector]?.event
  }

  /** The guest may have written the capability's flags. */
  flagsWritten(): void {
    for (let vector = 0; vector < this.vectors; vector++) this.#update(vector)
    this.onChange()
  }

  /** Its state after power-on: everything masked. */
  reset(): void {
    this.#clear()
    this.onChange()
  }

  /** Gives the host's interrupts back. */
  close(): void {
    for (const line of this.#lines) line.close()
    this.#lines = []
  }

  get #flags(): number {
    return this.#config.get(this.#offset + PCI_MSIX_FLAGS, 2)
  }

  /** 6.8.2.9: every vector is masked after a reset. */
  #clear(): void {
    this.#words.fill(0)
    this.#pending.fill(0)
    for (let vector = 0; vector < this.vectors; vector++) {
      this.#words[vector * ENTRY_WORDS + PCI_MSIX_ENTRY_VECTOR_CTRL / 4] =
        PCI_MSIX_ENTRY_CTRL_MASKBIT
    }
  }

  #word(vector: number, field: number): number {
    return this.#words[vector * ENTRY_WORDS + field / 4]!
  }

  #masked(vector: number): boolean {
    return (
      (this.#flags & PCI_MSIX_FLAGS_MASKALL) !== 0 ||
      (this.#word(vector, PCI_MSIX_ENTRY_VECTOR_CTRL) & PCI_MSIX_ENTRY_CTRL_MASKBIT) !== 0
    )
  }

  #writeTable(word: number, value: number): void {
    if (word >= this.#words.length) return
    const field = (word % ENTRY_WORDS) * 4
    this.#words[word] =
      field === PCI_MSIX_ENTRY_LOWER_ADDR
        ? value & ~3
        : field === PCI_MSIX_ENTRY_VECTOR_CTRL
          ? value & PCI_MSIX_ENTRY_CTRL_MASKBIT
          : value
    this.#update(Math.floor(word / ENTRY_WORDS))
    this.onChange()
  }

  /** Brings the line of a vector that can be sent up to date, and sends what waited for that. */
  #update(vector: number): void {
    if (!this.enabled || this.#masked(vector)) return
    const line = this.#lines[vector]
    line?.route(
      this.#word(vector, PCI_MSIX_ENTRY_LOWER_ADDR),
      this.#word(vector, PCI_MSIX_ENTRY_UPPER_ADDR),
      this.#word(vector, PCI_MSIX_ENTRY_DATA),
    )
    const bit = 1 << (vector & 31)
    if ((this.#pending[vector >> 5]! & bit) === 0) return
    this.#pending[vector >> 5]! &= ~bit
    line?.raise()
  }
}

/** Registers of 4 bytes each. */
function wordDevice(
  name: string,
  read: (word: number) => number | undefined,
  write: (word: number, value: number) => void,
): BusDevice {
  return {
    name,
    read: (offset, width) =>
      width === 4 && offset % 4 === 0 ? (read(offset / 4) ?? 0) : 2 ** (8 * width) - 1,
    write: (offset, width, value) => {
      if (width === 4 && offset % 4 === 0) write(offset / 4, value)
    },
  }
}
