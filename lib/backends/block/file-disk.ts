import { constants as fsConstants, type Stats } from 'node:fs'
import { type FileHandle, open, statfs } from 'node:fs/promises'
import { constants } from 'node:os'
import { binding } from '../../binding.js'
import { invalidOption, VmmError } from '../../errors.js'
import type { BlockAttachment, BlockChannel, BlockGeometry } from './block-backend.js'
import { BLOCK_ENGINES, type BlockEngineChoice, newFileChannel } from './file-channel.js'
import type { HandedDisk } from './inherited-disk.js'
import { OpenBackend } from './open-backend.js'

/** From `<linux/magic.h>`. */
const FUSE_SUPER_MAGIC = 0x65735546

/** What {@link FileDisk} takes. */
export interface FileDiskOptions {
  /** The guest may not write, and the file is opened for reading only. `false` unless told. */
  readOnly?: boolean
  /** `'auto'` unless told; {@link FileDisk.engine} tells what it came to. */
  engine?: BlockEngineChoice
  /** Bypass the host's page cache (O_DIRECT), where file system and guest keep to its alignment. `false` unless told. */
  direct?: boolean
  /**
   * Lock the image against other users of it: exclusively, or shared if read-only. `true` unless told; without it two
   * writers destroy each other's data.
   */
  lock?: boolean
  /** The serial number that the guest reads: at most 20 printable ASCII characters. From the file's inode unless told. */
  id?: string
}

/**
 * A disk kept in a raw image file or on a block device. The image's format is never guessed: what the guest writes
 * there cannot turn it into something else.
 *
 * @example `new FileDisk('disk.img')`
 */
export class FileDisk extends OpenBackend {
  readonly name: string
  /** As it was given. */
  readonly path: string
  readonly readOnly: boolean
  readonly #options: Readonly<Required<Pick<FileDiskOptions, 'engine' | 'direct' | 'lock'>>>
  readonly #flushState = { error: 0 }
  #id: string | undefined
  #file: FileHandle | undefined
  #engine: BlockEngineChoice = 'auto'
  #capacity = 0
  #physicalBlockSize = 512
  #discards = false

  /**
   * Does no I/O: the file is looked at by {@link FileDisk.open}.
   * @throws VmmError `ERR_INVALID_OPTION`
   */
  constructor(path: string, options: FileDiskOptions = {}) {
    super()
    const { readOnly = false, engine = 'auto', direct = false, lock = true, id } = options
    if (typeof path !== 'string' || path === '' || path.includes('\0')) {
      throw invalidOption('path', path, 'the path of a disk image or block device')
    }
    if (!BLOCK_ENGINES.includes(engine))
      throw invalidOption('engine', engine, "'auto', 'io_uring', 'threads' or 'js'")
    for (const [name, value] of Object.entries({ readOnly, direct, lock })) {
      if (typeof value !== 'boolean') throw invalidOption(name, value, 'true or false')
    }
    if (id !== undefined && !(typeof id === 'string' && /^[\x20-\x7e]{0,20}$/.test(id))) {
      throw invalidOption('id', id, 'at most 20 printable ASCII characters')
    }
    this.name = path
    this.path = path
    this.readOnly = readOnly
    this.#options = { engine, direct, lock }
    this.#id = id
  }

  get capacity(): number {
    return this.#capacity
  }

  get id(): string {
    return this.#id ?? ''
  }

  /** What the file or the device reads and writes best. Known once open. */
  get geometry(): BlockGeometry {
    const logicalBlockSize = 512
    return { logicalBlockSize, physicalBlockSize: this.#physicalBlockSize }
  }

  /** Whether ranges that the guest frees are given back to the file. Known once open. */
  get discards(): boolean {
    return this.#discards && !this.readOnly
  }

  /** Whether zeroes are written without data. Known once open. */
  get writesZeroes(): boolean {
    return this.discards
  }

  /**
   * @throws VmmError `ERR_DISK` if the file is missing, may not be opened, is no regular file or block device,
   *   is empty, has a size that is no multiple of 512, or is locked by someone else
   * @throws VmmError `ERR_STATE` if it is open already
   */
  override async open(): Promise<void> {
    await super.open()
  }

  protected async openStore(): Promise<void> {
    const file = await this.#openFile()
    try {
      const stats = await file.stat()
      this.#requireKind(stats)
      if (this.#options.lock) this.#lock(file)
      const capacity = binding().fileSize(file.fd)
      if (capacity === 0 || capacity % 512 !== 0) {
        throw this.#error(
          `has ${capacity} bytes`,
          capacity,
          'a size that is a multiple of 512 bytes, and not 0',
        )
      }
      this.#capacity = capacity
      this.#discards = !this.readOnly && binding().fallocateWorks(file.fd, capacity)
      this.#physicalBlockSize = stats.blksize >= 512 && stats.blksize <= 65536 ? stats.blksize : 512
      this.#id ??= `${stats.dev.toString(16)}-${stats.ino.toString(16)}`.slice(-20)
      this.#flushState.error = 0
      this.#engine = await this.#chooseEngine()
      this.#file = file
    } catch (error) {
      await file.close()
      throw error
    }
  }

  protected newChannel(attachment: BlockAttachment): BlockChannel {
    return newFileChannel(this.#engine, this.#file!, attachment, this.#flushState)
  }

  protected override handedStore(): HandedDisk {
    const { engine } = this.#options
    const { name, capacity, readOnly, id, discards } = this
    const physicalBlockSize = this.#physicalBlockSize
    return {
      ...{ name, capacity, readOnly, id, discards, physicalBlockSize, engine },
      fds: [this.#file!.fd],
    }
  }

  /**
   * Changes the size of the disk while the guest uses it; the guest is told. A block device takes the size that it has.
   * @param capacity bytes, a multiple of 512. What lies beyond it is lost.
   * @throws VmmError `ERR_INVALID_OPTION`; `ERR_STATE` if the disk is not open or is read-only
   */
  async resize(capacity: number): Promise<void> {
    if (!this.#file || this.readOnly) {
      throw new VmmError(
        'ERR_STATE',
        `disk ${this.path} is ${this.#file ? 'read-only' : 'not open'}`,
      )
    }
    if (!Number.isSafeInteger(capacity) || capacity <= 0 || capacity % 512 !== 0) {
      throw invalidOption('capacity', capacity, 'a multiple of 512 bytes, and not 0')
    }
    const stats = await this.#file.stat()
    if (stats.isFile()) await this.#file.truncate(capacity)
    this.#capacity = binding().fileSize(this.#file.fd)
    this.resized()
  }

  protected async closeStore(): Promise<void> {
    await this.#file?.close()
    this.#file = undefined
  }

  /**
   * io_uring goes on after a short read by itself; a FUSE file system that bypasses the page cache is then read from the
   * wrong place (Linux 6.18 and before).
   */
  async #chooseEngine(): Promise<BlockEngineChoice> {
    const { engine } = this.#options
    if (engine !== 'auto') return engine
    return (await statfs(this.path)).type === FUSE_SUPER_MAGIC ? 'threads' : 'auto'
  }

  async #openFile(): Promise<FileHandle> {
    // O_NONBLOCK: opening a FIFO must not wait for its other end.
    const flags =
      (this.readOnly ? fsConstants.O_RDONLY : fsConstants.O_RDWR) |
      fsConstants.O_NONBLOCK |
      (this.#options.direct ? fsConstants.O_DIRECT : 0)
    try {
      return await open(this.path, flags)
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code ?? 'an error'
      const access = this.readOnly ? 'read' : 'read and written'
      throw this.#error(
        `cannot be opened: ${code}`,
        this.path,
        `a file that exists and may be ${access}`,
        cause,
      )
    }
  }

  #requireKind(stats: Stats): void {
    if (stats.isFile() || stats.isBlockDevice()) return
    const kind = stats.isDirectory() ? 'a directory' : stats.isFIFO() ? 'a FIFO' : 'no regular file'
    throw this.#error(`is ${kind}`, this.path, 'a regular file or a block device')
  }

  #lock(file: FileHandle): void {
    const error = binding().lockFile(file.fd, !this.readOnly)
    if (error === 0) return
    if (error === constants.errno.EAGAIN || error === constants.errno.EACCES) {
      throw this.#error('is locked', this.path, 'an image that no other machine or program uses')
    }
    throw this.#error(
      `cannot be locked: errno ${error}`,
      this.path,
      'a file system with locks, or { lock: false }',
    )
  }

  #error(what: string, value: unknown, expected: string, cause?: unknown): VmmError {
    const details = { option: 'path', value, expected }
    return new VmmError(
      'ERR_DISK',
      `disk ${this.path} ${what}: expected ${expected}`,
      cause === undefined ? details : { ...details, cause },
    )
  }
}
