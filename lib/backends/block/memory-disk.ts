import { closeSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { binding } from '../../binding.js'
import { invalidOption } from '../../errors.js'
import type { BlockAttachment, BlockChannel } from './block-backend.js'
import { type BlockEngineChoice, newFileChannel } from './file-channel.js'
import type { HandedDisk } from './inherited-disk.js'
import { OpenBackend } from './open-backend.js'

/** What {@link MemoryDisk} takes. */
export interface MemoryDiskOptions {
  /** The guest may not write. `false` unless told. */
  readOnly?: boolean
  /** `'auto'` unless told. */
  engine?: BlockEngineChoice
  /** The serial number that the guest reads: `'memory'` unless told. */
  id?: string
}

/**
 * A disk in the host's memory, taken as it is written to and gone when the disk is closed.
 * @example `new MemoryDisk(64 * 2 ** 20)`, or `new MemoryDisk(await readFile('rootfs.ext4'))`
 */
export class MemoryDisk extends OpenBackend {
  readonly name = 'memory disk'
  readonly capacity: number
  readonly readOnly: boolean
  readonly id: string
  /** Ranges that the guest frees take no memory. */
  readonly discards = true
  /** Zeroes are written without data. */
  readonly writesZeroes = true
  readonly #contents: Uint8Array | undefined
  readonly #engine: BlockEngineChoice
  readonly #flushState = { error: 0 }
  #file: FileHandle | undefined

  /**
   * @param contents what the disk holds at first, copied when it is opened, or its size if that is zeroes:
   *   a multiple of 512 bytes, and not 0
   * @throws VmmError `ERR_INVALID_OPTION`
   */
  constructor(contents: Uint8Array | number, options: MemoryDiskOptions = {}) {
    super()
    const size = typeof contents === 'number' ? contents : contents?.byteLength
    if (!Number.isSafeInteger(size) || size <= 0 || size % 512 !== 0) {
      throw invalidOption(
        'contents',
        contents,
        'bytes, or their number: a multiple of 512, and not 0',
      )
    }
    this.capacity = size
    this.readOnly = options.readOnly ?? false
    this.id = options.id ?? 'memory'
    this.#engine = options.engine ?? 'auto'
    this.#contents = typeof contents === 'number' ? undefined : contents
  }

  protected async openStore(): Promise<void> {
    const fd = binding().memoryFile(this.capacity)
    try {
      const file = await open(`/proc/self/fd/${fd}`, 'r+')
      try {
        if (this.#contents) await file.writeFile(this.#contents)
      } catch (error) {
        await file.close()
        throw error
      }
      this.#file = file
    } finally {
      closeSync(fd)
    }
  }

  protected newChannel(attachment: BlockAttachment): BlockChannel {
    return newFileChannel(this.#engine, this.#file!, attachment, this.#flushState)
  }

  protected override handedStore(): HandedDisk {
    const { name, capacity, readOnly, id, discards } = this
    const fds = [this.#file!.fd]
    return { name, capacity, readOnly, id, discards, engine: this.#engine, fds }
  }

  protected async closeStore(): Promise<void> {
    await this.#file?.close()
    this.#file = undefined
  }
}
