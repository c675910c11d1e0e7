import { closeSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { binding } from '../../binding.js'
import type { BlockAttachment, BlockChannel } from './block-backend.js'
import { FileDisk } from './file-disk.js'
import { fileFunctions } from './file-functions.js'
import type { HandedDisk } from './inherited-disk.js'
import { type BlockFunctions, JsChannel } from './js-channel.js'
import { OpenBackend } from './open-backend.js'
import { SectorSet } from './sector-set.js'

/** What {@link OverlayDisk} takes. */
export interface OverlayDiskOptions {
  /** The serial number that the guest reads: the base image's unless told. */
  id?: string
}

/**
 * A disk that starts as an image and keeps what the guest writes in the host's memory: the image is never changed, any
 * number of machines can share it, and what they wrote is gone when the disk is closed.
 *
 * @example `new OverlayDisk('rootfs.ext4')`
 */
export class OverlayDisk extends OpenBackend {
  readonly name: string
  readonly readOnly = false
  readonly #base: FileDisk
  readonly #id: string | undefined
  readonly #flushState = { error: 0 }
  #files: { base: FileHandle; top: FileHandle } | undefined

  /** @throws VmmError `ERR_INVALID_OPTION` */
  constructor(path: string, options: OverlayDiskOptions = {}) {
    super()
    this.#base = new FileDisk(path, { readOnly: true, ...options })
    this.name = `overlay of ${path}`
    this.#id = options.id
  }

  get capacity(): number {
    return this.#base.capacity
  }

  get id(): string {
    return this.#id ?? this.#base.id
  }

  protected async openStore(): Promise<void> {
    await this.#base.open() // checks the image, and holds its lock
    try {
      const base = await open(this.#base.path, 'r')
      try {
        this.#files = { base, top: await memoryFile(this.capacity) }
      } catch (error) {
        await base.close()
        throw error
      }
    } catch (error) {
      await this.#base.close()
      throw error
    }
  }

  protected newChannel(attachment: BlockAttachment): BlockChannel {
    const { base, top } = this.#files!
    return new JsChannel(
      'overlay',
      overlay(fileFunctions(base), fileFunctions(top)),
      attachment,
      this.#flushState,
    )
  }

  protected override handedStore(): HandedDisk {
    const { name, capacity, readOnly, id } = this
    const { base, top } = this.#files!
    return { name, capacity, readOnly, id, discards: false, engine: 'js', fds: [base.fd, top.fd] }
  }

  protected async closeStore(): Promise<void> {
    await this.#files?.base.close()
    await this.#files?.top.close()
    this.#files = undefined
    await this.#base.close()
  }
}

async function memoryFile(size: number): Promise<FileHandle> {
  const fd = binding().memoryFile(size)
  try {
    return await open(`/proc/self/fd/${fd}`, 'r+')
  } finally {
    closeSync(fd)
  }
}

/** Sectors come from the top once they were written there. Offsets and lengths are whole sectors. */
export function overlay(base: BlockFunctions, top: BlockFunctions): BlockFunctions {
  const written = new SectorSet()
  return {
    async read(offset, buffers) {
      const runs = written.runs(offset, lengthOf(buffers))
      await Promise.all(
        runs.map((run) =>
          (run.inside ? top : base).read(
            run.offset,
            slice(buffers, run.offset - offset, run.length),
          ),
        ),
      )
      return undefined
    },
    async write(offset, buffers) {
      await top.write(offset, buffers, false)
      written.add(offset, lengthOf(buffers))
    },
    async flush() {}, // what is in memory is as safe as it will ever be
  }
}

function lengthOf(buffers: readonly Uint8Array[]): number {
  return buffers.reduce((sum, buffer) => sum + buffer.length, 0)
}

/** Bytes `[start, start + length)` of a run of buffers. */
function slice(buffers: readonly Uint8Array[], start: number, length: number): Uint8Array[] {
  const parts: Uint8Array[] = []
  let skip = start
  let left = length
  for (const buffer of buffers) {
    if (left === 0) break
    if (skip >= buffer.length) {
      skip -= buffer.length
      continue
    }
    const part = buffer.subarray(skip, skip + left)
    parts.push(part)
    left -= part.length
    skip = 0
  }
  return parts
}
