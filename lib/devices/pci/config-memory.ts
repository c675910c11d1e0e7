import { PCI_CFG_SPACE_SIZE, PCI_SLOTS } from './abi.js'

const REGISTERS = PCI_CFG_SPACE_SIZE / 4
const FIRST_REGISTER = 1
const FIRST_FLAGS = FIRST_REGISTER + PCI_SLOTS * REGISTERS
const FLAG_WORDS = REGISTERS / 32

/**
 * The configuration space of a bus as vCPUs' threads read it: in shared memory, with a bit for each register that says whether
 * they may. What is not there reads as all ones. (`SelectedRegisters` of the addon has the same layout.)
 */
export class ConfigMemory {
  /** CONFIG_ADDRESS as the guest has written it, the registers slot by slot, and the bits. */
  readonly words = new Uint32Array(
    new SharedArrayBuffer(4 * (FIRST_FLAGS + PCI_SLOTS * FLAG_WORDS)),
  )

  constructor() {
    for (let slot = 0; slot < PCI_SLOTS; slot++) this.clear(slot)
  }

  /** The 256 bytes of a slot. */
  bytesOf(slot: number): Uint8Array {
    const start = 4 * (FIRST_REGISTER + slot * REGISTERS)
    return new Uint8Array(this.words.buffer, start, PCI_CFG_SPACE_SIZE)
  }

  /** Says which registers of a slot, by their offsets, are no more than what lies here. */
  setReadable(slot: number, isReadable: (offset: number) => boolean): void {
    for (let word = 0; word < FLAG_WORDS; word++) {
      let flags = 0
      for (let bit = 0; bit < 32; bit++) {
        if (isReadable(4 * (32 * word + bit))) flags |= 1 << bit
      }
      Atomics.store(this.words, FIRST_FLAGS + slot * FLAG_WORDS + word, flags)
    }
  }

  /** Nothing is in the slot. Nobody sees half of it. */
  clear(slot: number): void {
    this.setReadable(slot, () => false)
    this.bytesOf(slot).fill(0xff)
    this.setReadable(slot, () => true)
  }

  /** As after power-on: no register is selected. The guest does not run. */
  deselect(): void {
    Atomics.store(this.words, 0, 0)
  }
}
