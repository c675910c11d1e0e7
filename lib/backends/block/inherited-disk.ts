import { close, fdatasync, readv, writev } from 'node:fs'
import { promisify } from 'node:util'
import type { BlockAttachment, BlockChannel, BlockGeometry } from './block-backend.js'
import { type BlockEngineChoice, newFileChannel } from './file-channel.js'
import { type DiskFile, fileFunctions } from './file-functions.js'
import { JsChannel } from './js-channel.js'
import { OpenBackend } from './open-backend.js'
import { overlay } from './overlay-disk.js'

/** What a process needs to serve a disk that another one has opened: all that is known of it, and its descriptors. */
export interface HandedDisk {
  readonly name: string
  readonly capacity: number
  readonly readOnly: boolean
  readonly id: string
  /** Whether freed ranges can be given back, and zeroes be written without data. */
  readonly discards: boolean
  readonly physicalBlockSize?: number
  readonly engine: BlockEngineChoice
  /** The image's; or of an overlay, the image's and that of what was written. */
  readonly fds: readonly number[]
}

const closeFd = promisify(close)
const sync = promisify(fdatasync)

/** A disk that the process which started this one has opened, by descriptors that it left open. */
export class InheritedDisk extends OpenBackend {
  readonly name: string
  readonly readOnly: boolean
  readonly id: string
  readonly discards: boolean
  readonly writesZeroes: boolean
  readonly #handed: HandedDisk
  readonly #flushState = { error: 0 }
  #capacity: number

  constructor(handed: HandedDisk) {
    super()
    this.#handed = handed
    this.name = handed.name
    this.readOnly = handed.readOnly
    this.id = handed.id
    this.discards = handed.discards
    this.writesZeroes = handed.discards
    this.#capacity = handed.capacity
  }

  get capacity(): number {
    return this.#capacity
  }

  get geometry(): BlockGeometry {
    const { physicalBlockSize = 512 } = this.#handed
    return { logicalBlockSize: 512, physicalBlockSize }
  }

  /** Whoever opened it has changed its size. */
  setCapacity(capacity: number): void {
    this.#capacity = capacity
    this.resized()
  }

  protected async openStore(): Promise<void> {}

  protected newChannel(attachment: BlockAttachment): BlockChannel {
    const { engine, fds } = this.#handed
    const [base, top] = fds.map(openFile)
    if (top === undefined) return newFileChannel(engine, base!, attachment, this.#flushState)
    const functions = overlay(fileFunctions(base!), fileFunctions(top))
    return new JsChannel('overlay', functions, attachment, this.#flushState)
  }

  protected async closeStore(): Promise<void> {
    for (const fd of this.#handed.fds) await closeFd(fd)
  }
}

/** Node makes a FileHandle only of what it opens itself. */
function openFile(fd: number): DiskFile {
  return {
    fd,
    readv: <T extends readonly NodeJS.ArrayBufferView[]>(buffers: T, position?: number | null) =>
      new Promise<{ bytesRead: number; buffers: T }>((resolve, reject) => {
        readv(fd, buffers, position ?? null, (error, bytesRead) =>
          error ? reject(error) : resolve({ bytesRead, buffers }),
        )
      }),
    writev: <T extends readonly NodeJS.ArrayBufferView[]>(buffers: T, position?: number | null) =>
      new Promise<{ bytesWritten: number; buffers: T }>((resolve, reject) => {
        writev(fd, buffers, position as number, (error, bytesWritten) =>
          error ? reject(error) : resolve({ bytesWritten, buffers }),
        )
      }),
    datasync: () => sync(fd),
  }
}
