import { readLittleEndian } from '../../util/bits.js'
import { PCI_CFG_SPACE_SIZE } from './abi.js'

/**
 * 256 bytes of configuration space, each bit of which the guest may change or not. Reserved bits read 0, and writes of
 * what is not writable do nothing (PCI 3.0, 6.1).
 */
export class ConfigSpace {
  #bytes: Uint8Array = new Uint8Array(PCI_CFG_SPACE_SIZE)
  readonly #writable = new Uint8Array(PCI_CFG_SPACE_SIZE)
  readonly #afterReset = new Uint8Array(PCI_CFG_SPACE_SIZE)

  /** What reads give. The device changes it as it likes. Other memory after the device was plugged in or pulled out. */
  get bytes(): Uint8Array {
    return this.#bytes
  }

  /** Has the bytes in other memory, 256 of them, from now on. */
  moveTo(bytes: Uint8Array): void {
    bytes.set(this.#bytes)
    this.#bytes = bytes
  }

  /**
   * Declares a register: its value, now and after each reset, and which of its bits the guest may write.
   * @param width bytes
   */
  define(offset: number, width: 1 | 2 | 4, value: number, writable = 0): void {
    for (let i = 0; i < width; i++) {
      this.bytes[offset + i] = value >>> (8 * i)
      this.#afterReset[offset + i] = value >>> (8 * i)
      this.#writable[offset + i] = writable >>> (8 * i)
    }
  }

  /** An unsigned integer. Bytes past the end read 0. */
  get(offset: number, width: 1 | 2 | 4): number {
    return readLittleEndian(this.bytes, offset, width)
  }

  /** A write of the guest's: changes the bits that it may change. */
  write(offset: number, width: 1 | 2 | 4, value: number): void {
    for (let i = 0; i < width && offset + i < PCI_CFG_SPACE_SIZE; i++) {
      const mask = this.#writable[offset + i]!
      this.bytes[offset + i] = (this.bytes[offset + i]! & ~mask) | ((value >>> (8 * i)) & mask)
    }
  }

  /** Gives every register the value that it was defined with. */
  reset(): void {
    this.bytes.set(this.#afterReset)
  }
}
