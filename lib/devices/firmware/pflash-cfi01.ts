import type { BusDevice } from '../../bus/bus-device.js'

// Intel's command set for flash memory (Intel 28F320J5 datasheet, table 4; JEDEC JESD68 for the query).
export const PFLASH_READ_ARRAY = 0xff
export const PFLASH_PROGRAM = 0x40
const PROGRAM_ALTERNATE = 0x10
export const PFLASH_BLOCK_ERASE = 0x20
export const PFLASH_CONFIRM = 0xd0
export const PFLASH_CLEAR_STATUS = 0x50
const BLOCK_LOCK = 0x60
export const PFLASH_READ_STATUS = 0x70
export const PFLASH_READ_ID = 0x90
export const PFLASH_CFI_QUERY = 0x98
export const PFLASH_WRITE_BUFFER = 0xe8

export const PFLASH_SR_READY = 0x80
/** Both at once: a command sequence that there is not. */
const SR_SEQUENCE_ERROR = 0x30

/** Bytes of an erase block. */
export const PFLASH_BLOCK = 4096
const BUFFER_SIZE = 256
const MANUFACTURER_INTEL = 0x89
const DEVICE_ID = 0x18

export interface PflashOptions {
  name?: string
  /** The flash's contents, a multiple of {@link PFLASH_BLOCK}, changed in place. */
  bytes: Uint8Array
  /**
   * Reads give the contents, so that they may be mapped into the guest (true), or what a command asked for, so that
   * every one has to come to `read()` (false). Called when that changes; true at first.
   */
  onArrayMode?: (array: boolean) => void
  /** What lies in `[offset, offset + length)` has changed. Called when the guest is done with a run of writes. */
  onChange?: (offset: number, length: number) => void
}

/**
 * A parallel NOR flash with Intel's command set, 8 bits wide: in it UEFI firmware keeps its variables. What a write does
 * is a command, but for the data that a command asks for.
 */
export class PflashCfi01 implements BusDevice {
  readonly name: string
  readonly #bytes: Uint8Array
  readonly #query: Uint8Array
  readonly #onArrayMode: (array: boolean) => void
  readonly #onChange: (offset: number, length: number) => void
  /** What reads give, by the command that asked for it. */
  #mode = PFLASH_READ_ARRAY
  /** The command whose second write is due, 0 if none. */
  #pending = 0
  #status = 0
  /** PFLASH_WRITE_BUFFER: bytes that are still to come, -1 before their count; and those that have. */
  #expected = -1
  #buffer: [offset: number, value: number][] = []
  #dirtyStart = Number.POSITIVE_INFINITY
  #dirtyEnd = 0

  constructor(options: PflashOptions) {
    this.name = options.name ?? 'pflash'
    this.#bytes = options.bytes
    this.#query = cfiTable(options.bytes.length)
    this.#onArrayMode = options.onArrayMode ?? (() => {})
    this.#onChange = options.onChange ?? (() => {})
  }

  reset(): void {
    this.#status = 0
    this.#enter(PFLASH_READ_ARRAY)
  }

  read(offset: number, width: 1 | 2 | 4): number {
    let value = 0
    for (let i = width - 1; i >= 0; i--) value = value * 256 + this.#readByte(offset + i)
    return value
  }

  read64(offset: number): bigint {
    return BigInt(this.read(offset, 4)) | (BigInt(this.read(offset + 4, 4)) << 32n)
  }

  write(offset: number, width: 1 | 2 | 4, value: number): void {
    if (this.#pending === 0) this.#command(value & 0xff)
    else for (let i = 0; i < width; i++) this.#data(offset + i, (value >>> (8 * i)) & 0xff)
  }

  #readByte(offset: number): number {
    switch (this.#mode) {
      case PFLASH_READ_ARRAY:
        return this.#bytes[offset] ?? 0xff
      case PFLASH_READ_ID:
        return [MANUFACTURER_INTEL, DEVICE_ID][offset & 0xff] ?? 0
      case PFLASH_CFI_QUERY:
        return this.#query[offset & 0xff] ?? 0
      default:
        return this.#status
    }
  }

  #command(command: number): void {
    switch (command) {
      case PFLASH_CLEAR_STATUS:
        this.#status = 0
        this.#enter(PFLASH_READ_ARRAY)
        break
      case PFLASH_READ_STATUS:
      case PFLASH_READ_ID:
      case PFLASH_CFI_QUERY:
        this.#enter(command)
        break
      case PFLASH_WRITE_BUFFER:
        this.#expected = -1
        this.#buffer = []
        this.#status |= PFLASH_SR_READY
        this.#await(command)
        break
      case PFLASH_PROGRAM:
      case PROGRAM_ALTERNATE:
      case PFLASH_BLOCK_ERASE:
      case BLOCK_LOCK:
        this.#await(command)
        break
      default:
        this.#enter(PFLASH_READ_ARRAY)
    }
  }

  #data(offset: number, byte: number): void {
    switch (this.#pending) {
      case PFLASH_PROGRAM:
      case PROGRAM_ALTERNATE:
        this.#program(offset, byte)
        this.#done()
        break
      case PFLASH_BLOCK_ERASE:
        if (byte === PFLASH_CONFIRM) this.#erase(offset)
        else this.#status |= SR_SEQUENCE_ERROR
        this.#done()
        break
      case PFLASH_WRITE_BUFFER:
        this.#bufferData(offset, byte)
        break
      case BLOCK_LOCK:
        // There are no locks: both setting and clearing them succeed.
        this.#done()
        break
      default:
        // What is left of a wider write, after the command's data.
        break
    }
  }

  /** Its count less one, the bytes, and the confirmation. */
  #bufferData(offset: number, byte: number): void {
    if (this.#expected < 0) {
      this.#expected = byte + 1
    } else if (this.#expected > 0) {
      if (this.#buffer.length < BUFFER_SIZE) this.#buffer.push([offset, byte])
      this.#expected--
    } else {
      if (byte === PFLASH_CONFIRM) for (const entry of this.#buffer) this.#program(...entry)
      else this.#status |= SR_SEQUENCE_ERROR
      this.#done()
    }
  }

  #await(command: number): void {
    this.#enter(PFLASH_READ_STATUS)
    this.#pending = command
  }

  #done(): void {
    this.#pending = 0
    this.#status |= PFLASH_SR_READY
  }

  /** Bits go from 1 to 0 only; back they go by erasing. */
  #program(offset: number, byte: number): void {
    if (offset >= this.#bytes.length) return
    this.#bytes[offset]! &= byte
    this.#changed(offset, 1)
  }

  #erase(offset: number): void {
    const start = offset - (offset % PFLASH_BLOCK)
    this.#bytes.fill(0xff, start, start + PFLASH_BLOCK)
    this.#changed(start, PFLASH_BLOCK)
  }

  #changed(offset: number, length: number): void {
    this.#dirtyStart = Math.min(this.#dirtyStart, offset)
    this.#dirtyEnd = Math.max(this.#dirtyEnd, offset + length)
  }

  #enter(mode: number): void {
    const before = this.#mode
    this.#mode = mode
    this.#pending = 0
    if (mode === PFLASH_READ_ARRAY) this.flush()
    if ((mode === PFLASH_READ_ARRAY) !== (before === PFLASH_READ_ARRAY)) {
      this.#onArrayMode(mode === PFLASH_READ_ARRAY)
    }
  }

  /** Tells of what has changed since it last told. */
  flush(): void {
    if (this.#dirtyEnd === 0) return
    const [start, end] = [this.#dirtyStart, this.#dirtyEnd]
    this.#dirtyStart = Number.POSITIVE_INFINITY
    this.#dirtyEnd = 0
    this.#onChange(start, end - start)
  }
}

/** The Common Flash Interface's answer: `QRY`, the command set, sizes and the erase blocks (JESD68.01, section 2). */
function cfiTable(size: number): Uint8Array {
  const table = new Uint8Array(0x60)
  const view = new DataView(table.buffer)
  const blocks = size / PFLASH_BLOCK
  table.set([0x51, 0x52, 0x59], 0x10)
  // Intel's extended command set, whose table is at 0x31.
  view.setUint16(0x13, 1, true)
  view.setUint16(0x15, 0x31, true)
  view.setUint8(0x1b, 0x45)
  view.setUint8(0x1c, 0x55)
  view.setUint8(0x1f, 7)
  view.setUint8(0x20, 7)
  view.setUint8(0x21, 10)
  view.setUint8(0x23, 4)
  view.setUint8(0x24, 4)
  view.setUint8(0x25, 4)
  view.setUint8(0x27, Math.ceil(Math.log2(size)))
  view.setUint8(0x28, 2)
  view.setUint8(0x2a, Math.log2(BUFFER_SIZE))
  view.setUint8(0x2c, 1)
  view.setUint16(0x2d, blocks - 1, true)
  view.setUint16(0x2f, PFLASH_BLOCK / 256, true)
  table.set([0x50, 0x52, 0x49, 0x31, 0x30], 0x31)
  return table
}
