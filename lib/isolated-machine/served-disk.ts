import type {
  BlockAttachment,
  BlockChannel,
  BlockGeometry,
} from '../backends/block/block-backend.js'
import { InheritedDisk } from '../backends/block/inherited-disk.js'
import { type BlockFunctions, JsChannel } from '../backends/block/js-channel.js'
import { OpenBackend } from '../backends/block/open-backend.js'
import type { Channel } from '../isolation/channel.js'
import type { DiskConfig } from '../machine/device-options.js'
import { DISK_PIECE, type DiskForm, type ServedDiskForm } from '../machine/isolated/protocol.js'

/** A disk's configuration, with a backend for this process. */
export function diskConfig({ disk, ...others }: DiskForm, channel: Channel): DiskConfig {
  const backend = 'served' in disk ? new ServedDisk(disk, channel) : new InheritedDisk(disk)
  return { ...others, backend }
}

/** A disk that the program serves. */
export class ServedDisk extends OpenBackend {
  readonly name: string
  readonly readOnly: boolean
  readonly id: string
  readonly discards: boolean
  readonly writesZeroes: boolean
  readonly geometry: BlockGeometry
  readonly #number: number
  readonly #channel: Channel
  readonly #flushState = { error: 0 }
  #capacity: number

  constructor(form: ServedDiskForm, channel: Channel) {
    super()
    const { served, name, capacity, readOnly, id, discards, writesZeroes } = form
    const { logicalBlockSize, physicalBlockSize } = form
    this.name = name
    this.readOnly = readOnly
    this.id = id
    this.discards = discards
    this.writesZeroes = writesZeroes
    this.geometry = { logicalBlockSize, physicalBlockSize }
    this.#number = served
    this.#capacity = capacity
    this.#channel = channel
  }

  get capacity(): number {
    return this.#capacity
  }

  setCapacity(capacity: number): void {
    this.#capacity = capacity
    this.resized()
  }

  protected async openStore(): Promise<void> {}

  /** Data is copied on its way, so a program that never answers holds no guest memory. */
  protected newChannel(attachment: BlockAttachment): BlockChannel {
    return new JsChannel('served', this.#functions(), attachment, this.#flushState, () => {})
  }

  protected async closeStore(): Promise<void> {}

  #functions(): BlockFunctions {
    const ask = async (name: string, values: object, bytes?: Uint8Array) =>
      (await this.#channel.request(`disk.${name}`, { disk: this.#number, ...values }, bytes)).bytes
    return {
      read: async (offset, buffers) => {
        const pieces = cut(offset, total(buffers))
        const data = await Promise.all(pieces.map((piece) => ask('read', piece)))
        return () => {
          const bytes = Buffer.concat(data)
          let at = 0
          for (const buffer of buffers) {
            buffer.set(bytes.subarray(at, at + buffer.length))
            at += buffer.length
          }
        }
      },
      write: async (offset, buffers, durable) => {
        const data = Buffer.concat(buffers)
        const pieces = cut(offset, data.length)
        await Promise.all(
          pieces.map((piece) => {
            const start = piece.offset - offset
            const bytes = data.subarray(start, start + piece.length)
            return ask('write', { offset: piece.offset, durable }, bytes)
          }),
        )
      },
      flush: async () => void (await ask('flush', {})),
      discard: async (offset, length) => void (await ask('discard', { offset, length })),
      writeZeroes: async (offset, length, unmap) =>
        void (await ask('writeZeroes', { offset, length, unmap })),
    }
  }
}

function total(buffers: readonly Uint8Array[]): number {
  return buffers.reduce((sum, buffer) => sum + buffer.length, 0)
}

function cut(offset: number, length: number): { offset: number; length: number }[] {
  return Array.from({ length: Math.ceil(length / DISK_PIECE) }, (_, i) => ({
    offset: offset + i * DISK_PIECE,
    length: Math.min(DISK_PIECE, length - i * DISK_PIECE),
  }))
}
