import { constants } from 'node:os'
import { invalidOption } from '../../errors.js'
import type { BlockAttachment, BlockChannel } from './block-backend.js'
import { type BlockFunctions, JsChannel } from './js-channel.js'
import { OpenBackend } from './open-backend.js'

/**
 * A disk as a program of one's own provides it. Ranges are whole sectors inside the disk. A promise that rejects, or data
 * of the wrong length, is an I/O error to the guest; its other requests go on.
 */
export interface DiskProvider {
  /** Bytes, a multiple of 512, and not 0. */
  readonly size: number
  /** For errors and logs. */
  readonly name?: string
  /** The serial number that the guest reads: at most 20 bytes of ASCII. */
  readonly id?: string
  /** Gives bytes `[offset, offset + length)`. `signal` aborts when nobody waits for them any more. */
  read(offset: number, length: number, signal: AbortSignal): Promise<Uint8Array>
  /** Keeps `data`, which is the provider's own. Absent: the disk is read-only. */
  write?(offset: number, data: Uint8Array, signal: AbortSignal): Promise<void>
  /** Resolves when every write that has resolved would survive a power cut. Absent: they do when they resolve. */
  flush?(signal: AbortSignal): Promise<void>
}

/** Bytes of the longest call of a provider's functions; longer requests are cut. */
const PIECE = 2 ** 20

/**
 * A disk whose data a program provides: from HTTP range requests, an object store, or computed. Data is copied between
 * provider and guest, so a provider that never answers holds no guest memory.
 *
 * @example
 * ```ts
 * new CustomDisk({ size: 1 << 30, read: async (offset, length) => new Uint8Array(length) })
 * ```
 */
export class CustomDisk extends OpenBackend {
  readonly name: string
  readonly capacity: number
  readonly readOnly: boolean
  readonly id: string
  readonly #provider: DiskProvider
  readonly #flushState = { error: 0 }
  #abort = new AbortController()

  /** @throws VmmError `ERR_INVALID_OPTION` for a size that is no multiple of 512, or without `read` */
  constructor(provider: DiskProvider) {
    super()
    const { size, name = 'custom disk', id = 'custom' } = provider
    if (!Number.isSafeInteger(size) || size <= 0 || size % 512 !== 0) {
      throw invalidOption('size', size, 'a multiple of 512 bytes, and not 0')
    }
    if (typeof provider.read !== 'function')
      throw invalidOption('read', provider.read, 'an async function')
    this.#provider = provider
    this.name = name
    this.capacity = size
    this.id = id
    this.readOnly = typeof provider.write !== 'function'
  }

  protected async openStore(): Promise<void> {
    this.#abort = new AbortController()
    this.#flushState.error = 0
  }

  protected newChannel(attachment: BlockAttachment): BlockChannel {
    return new JsChannel('custom', this.#functions(), attachment, this.#flushState, () =>
      this.#giveUp(),
    )
  }

  protected async closeStore(): Promise<void> {
    this.#abort.abort()
  }

  /** Nobody waits any more for what has been asked for so far. */
  #giveUp(): void {
    this.#abort.abort()
    this.#abort = new AbortController()
  }

  #functions(): BlockFunctions {
    const provider = this.#provider
    return {
      read: async (offset, buffers) => {
        const { signal } = this.#abort
        const pieces: Uint8Array[] = []
        const total = buffers.reduce((sum, buffer) => sum + buffer.length, 0)
        for (let at = 0; at < total; at += PIECE) {
          const length = Math.min(PIECE, total - at)
          const data = await provider.read(offset + at, length, signal)
          if (!(data instanceof Uint8Array) || data.length !== length)
            throw ioError('a read gave another length')
          pieces.push(data)
        }
        return () => scatter(pieces, buffers)
      },
      write: async (offset, buffers, durable) => {
        const { signal } = this.#abort
        const data = Buffer.concat(buffers)
        for (let at = 0; at < data.length; at += PIECE) {
          await provider.write?.(offset + at, data.subarray(at, at + PIECE), signal)
        }
        if (durable) await provider.flush?.(signal)
      },
      flush: async () => {
        await provider.flush?.(this.#abort.signal)
      },
    }
  }
}

function ioError(message: string): Error {
  return Object.assign(new Error(message), { errno: constants.errno.EIO })
}

function scatter(pieces: readonly Uint8Array[], buffers: readonly Uint8Array[]): void {
  const data = pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces)
  let at = 0
  for (const buffer of buffers) {
    buffer.set(data.subarray(at, at + buffer.length))
    at += buffer.length
  }
}
