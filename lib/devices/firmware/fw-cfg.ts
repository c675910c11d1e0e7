import type { BusDevice } from '../../bus/bus-device.js'
import { invalidOption } from '../../errors.js'
import type { GuestMemory } from '../../memory/guest-memory.js'
import { readLittleEndian } from '../../util/bits.js'

// QEMU's firmware configuration device (QEMU docs/specs/fw_cfg.rst), as x86 has it: offsets from port 0x510.
export const FW_CFG_SELECTOR = 0x0
export const FW_CFG_DATA = 0x1
/** The DMA address, 8 bytes, big-endian: a write of its lower half starts the transfer. */
export const FW_CFG_DMA = 0x4
export const FW_CFG_PORTS = 0xc

export const FW_CFG_SIGNATURE = 0x00
export const FW_CFG_ID = 0x01
export const FW_CFG_RAM_SIZE = 0x03
export const FW_CFG_NOGRAPHIC = 0x04
export const FW_CFG_NB_CPUS = 0x05
export const FW_CFG_MAX_CPUS = 0x0f
export const FW_CFG_FILE_DIR = 0x19
/** The key of the first file. */
export const FW_CFG_FILE_FIRST = 0x20
/** The old way to write, which nobody uses any more; ignored. */
const FW_CFG_WRITE_CHANNEL = 0x4000

export const FW_CFG_VERSION = 1 << 0
export const FW_CFG_VERSION_DMA = 1 << 1

// FWCfgDmaAccess: control, length and address, all big-endian.
const DMA_ACCESS_SIZE = 16
export const FW_CFG_DMA_CTL_ERROR = 0x01
export const FW_CFG_DMA_CTL_READ = 0x02
export const FW_CFG_DMA_CTL_SKIP = 0x04
export const FW_CFG_DMA_CTL_SELECT = 0x08
export const FW_CFG_DMA_CTL_WRITE = 0x10
const DMA_SIGNATURE = [...'QEMU CFG'].map((character) => character.charCodeAt(0))

const FILE_SIZE = 64
const FILE_NAME_MAX = 55
/** Bytes past an item's end that a transfer gets as zeroes; one that asks for more is an error. */
const PADDING_MAX = 0x1_0000

/** Bytes, or what gives them each time that the guest turns to them, followed by zeroes as far as `size`. */
export type FwCfgItem = Uint8Array | { readonly size: number; read(): Uint8Array }

export interface FwCfgOptions {
  name?: string
  memory: GuestMemory
  /** Items by their keys below {@link FW_CFG_FILE_FIRST}; signature, version and file directory are there by themselves. */
  items?: Readonly<Record<number, FwCfgItem>>
  /** Files by name, at most 55 characters each, such as `etc/e820`. */
  files?: Readonly<Record<string, FwCfgItem>>
}

/** Offers named pieces of data to firmware, and to guests that know of it: by ports byte by byte, or by DMA. */
export class FwCfg implements BusDevice {
  readonly name: string
  readonly #memory: GuestMemory
  readonly #items = new Map<number, FwCfgItem>()
  #item: Uint8Array | undefined
  #offset = 0
  #dmaHigh = 0

  /** @throws VmmError `ERR_INVALID_OPTION` for a file name that is too long */
  constructor(options: FwCfgOptions) {
    this.name = options.name ?? 'fw-cfg'
    this.#memory = options.memory
    this.#items.set(FW_CFG_SIGNATURE, ascii('QEMU'))
    this.#items.set(FW_CFG_ID, Uint8Array.of(FW_CFG_VERSION | FW_CFG_VERSION_DMA, 0, 0, 0))
    for (const [key, item] of Object.entries(options.items ?? {})) {
      this.#items.set(Number(key), item)
    }
    // Sorted: firmware may search it in halves.
    const names = Object.keys(options.files ?? {}).sort()
    const directory = new Uint8Array(4 + names.length * FILE_SIZE)
    const view = new DataView(directory.buffer)
    view.setUint32(0, names.length)
    for (const [i, name] of names.entries()) {
      const file = options.files![name]!
      const at = 4 + i * FILE_SIZE
      const key = FW_CFG_FILE_FIRST + i
      if (name.length > FILE_NAME_MAX) {
        throw invalidOption('files', name, `at most ${FILE_NAME_MAX} characters`)
      }
      view.setUint32(at, file instanceof Uint8Array ? file.length : file.size)
      view.setUint16(at + 4, key)
      directory.set(ascii(name), at + 8)
      this.#items.set(key, file)
    }
    this.#items.set(FW_CFG_FILE_DIR, directory)
    this.#select(FW_CFG_SIGNATURE)
  }

  reset(): void {
    this.#select(FW_CFG_SIGNATURE)
    this.#dmaHigh = 0
  }

  read(offset: number, width: 1 | 2 | 4): number {
    if (offset === FW_CFG_DATA && width === 1) return this.#item?.[this.#offset++] ?? 0
    if (offset < FW_CFG_DMA) return offset === FW_CFG_SELECTOR ? 0 : 2 ** (8 * width) - 1
    return readLittleEndian(DMA_SIGNATURE, offset - FW_CFG_DMA, width)
  }

  write(offset: number, width: 1 | 2 | 4, value: number): void {
    if (offset === FW_CFG_SELECTOR && width === 2) this.#select(value)
    else if (offset === FW_CFG_DMA && width === 4) this.#dmaHigh = swap32(value)
    else if (offset === FW_CFG_DMA + 4 && width === 4) {
      const address = this.#dmaHigh * 2 ** 32 + swap32(value)
      this.#dmaHigh = 0
      this.#transfer(address)
    }
  }

  #select(key: number): void {
    const item = this.#items.get(key & ~FW_CFG_WRITE_CHANNEL)
    this.#item = item === undefined || item instanceof Uint8Array ? item : padded(item)
    this.#offset = 0
  }

  /** One transfer by the structure at `address`, whose control word tells at once how it went. */
  #transfer(address: number): void {
    const memory = this.#memory
    if (memory.findRegion(address, DMA_ACCESS_SIZE) === undefined) return
    // A copy: another vCPU may change what has been judged.
    const access = new DataView(memory.view(address, DMA_ACCESS_SIZE).slice().buffer)
    const control = access.getUint32(0)
    const length = access.getUint32(4)
    const data = Number(access.getBigUint64(8))
    if (control & FW_CFG_DMA_CTL_SELECT) this.#select(control >>> 16)
    const ok = this.#move(control, length, data)
    memory.dataView(address, 4).setUint32(0, ok ? 0 : FW_CFG_DMA_CTL_ERROR)
  }

  #move(control: number, length: number, address: number): boolean {
    if (control & FW_CFG_DMA_CTL_READ) {
      const rest = this.#item?.subarray(this.#offset) ?? new Uint8Array()
      if (length > rest.length + PADDING_MAX) return false
      if (this.#memory.findRegion(address, length) === undefined) return false
      const into = this.#memory.view(address, length)
      into.set(rest.subarray(0, length))
      into.fill(0, Math.min(rest.length, length))
    } else if (control & FW_CFG_DMA_CTL_WRITE) {
      // No item is writable.
      return length === 0
    } else if ((control & FW_CFG_DMA_CTL_SKIP) === 0) {
      return true
    }
    this.#offset = Math.min(this.#offset + length, 2 ** 32)
    return true
  }
}

function padded({ size, read }: Exclude<FwCfgItem, Uint8Array>): Uint8Array {
  const bytes = new Uint8Array(size)
  bytes.set(read().subarray(0, size))
  return bytes
}

function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0))
}

function swap32(value: number): number {
  return (
    ((value & 0xff) * 0x100_0000 +
      ((value & 0xff00) << 8) +
      ((value >>> 8) & 0xff00) +
      (value >>> 24)) >>>
    0
  )
}
