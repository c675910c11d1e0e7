import { constants as fsConstants, type Stats } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { constants } from 'node:os'
import { binding } from '../../binding.js'
import { invalidOption, KvmError, VmmError } from '../../errors.js'
import { nativeAddressSpace } from '../native-memory.js'
import type { BlockAttachment, BlockBackend, BlockChannel, BlockGeometry } from './block-backend.js'
import { fileFunctions } from './file-functions.js'
import { FlushGate } from './flush-gate.js'
import { JsChannel } from './js-channel.js'
import { NativeChannel } from './native-channel.js'

/** What moves a file's data. `auto`: io_uring where the kernel allows it, else threads. */
export type BlockEngineChoice = 'auto' | 'io_uring' | 'threads' | 'js'

const ENGINES: readonly BlockEngineChoice[] = ['auto', 'io_uring', 'threads', 'js']

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
export class FileDisk implements BlockBackend {
  readonly name: string
  readonly path: string
  readonly readOnly: boolean
  readonly #options: Readonly<Required<Pick<FileDiskOptions, 'engine' | 'direct' | 'lock'>>>
  readonly #flushState = { error: 0 }
  #id: string | undefined
  #file: FileHandle | undefined
  #capacity = 0
  #physicalBlockSize = 512
  #discards = false
  #attachment: BlockAttachment | undefined
  #channel: BlockChannel | undefined

  /**
   * Does no I/O: the file is looked at by {@link FileDisk.open}.
   * @throws VmmError `ERR_INVALID_OPTION`
   */
  constructor(path: string, options: FileDiskOptions = {}) {
    const { readOnly = false, engine = 'auto', direct = false, lock = true, id } = options
    if (typeof path !== 'string' || path === '' || path.includes('\0')) {
      throw invalidOption('path', path, 'the path of a disk image or block device')
    }
    if (!ENGINES.includes(engine))
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

  get geometry(): BlockGeometry {
    const logicalBlockSize = 512
    return { logicalBlockSize, physicalBlockSize: this.#physicalBlockSize }
  }

  get discards(): boolean {
    return this.#discards && !this.readOnly
  }

  get writesZeroes(): boolean {
    return this.discards
  }

  /** What moves the data, once a device is attached. */
  get engine(): string | undefined {
    return this.#channel?.engine
  }

  /**
   * @throws VmmError `ERR_DISK` if the file is missing, may not be opened, is no regular file or block device,
   *   is empty, has a size that is no multiple of 512, or is locked by someone else
   * @throws VmmError `ERR_STATE` if it is open already
   */
  async open(): Promise<void> {
    if (this.#file) throw new VmmError('ERR_STATE', `disk ${this.path} is open already`)
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
      this.#file = file
    } catch (error) {
      await file.close()
      throw error
    }
  }

  attach(attachment: BlockAttachment): BlockChannel {
    if (!this.#file) throw new VmmError('ERR_STATE', `disk ${this.path} is not open`)
    if (this.#channel)
      throw new VmmError('ERR_STATE', `disk ${this.path} serves another device already`)
    const channel = this.#newChannel(this.#file, attachment)
    this.#channel = channel
    this.#attachment = attachment
    return channel
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
    this.#attachment?.resized()
  }

  async close(): Promise<void> {
    const file = this.#file
    this.#file = undefined
    await this.#channel?.close()
    this.#channel = undefined
    await file?.close()
  }

  #newChannel(file: FileHandle, attachment: BlockAttachment): BlockChannel {
    const { engine } = this.#options
    const memory = engine === 'js' ? undefined : nativeAddressSpace(attachment.memory)
    if (memory === undefined) {
      if (engine !== 'auto' && engine !== 'js') {
        throw invalidOption(
          'engine',
          engine,
          "'auto' or 'js' for guest memory that no mapping backs",
        )
      }
      return new JsChannel('js', fileFunctions(file), attachment, this.#flushState)
    }
    const make = (kind: 'io_uring' | 'threads') =>
      new NativeChannel(kind, file.fd, memory, attachment, new FlushGate(this.#flushState))
    if (engine === 'threads') return make('threads')
    try {
      return make('io_uring')
    } catch (error) {
      if (engine === 'auto' && error instanceof KvmError) return make('threads')
      throw error
    }
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
