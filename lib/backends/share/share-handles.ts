import { close, closeSync } from 'node:fs'
import { FuseError } from './fuse-message.js'
import type { ShareNode } from './share-nodes.js'

/** A file that the guest has opened. */
export interface FileHandle {
  readonly node: ShareNode
  readonly fd: number
  /** Requests on it that are under way: its descriptor must not be given back, and perhaps used again, before. */
  busy: number
  released: boolean
}

/** A folder's names as they were when it was first read. */
export interface FolderHandle {
  readonly node: ShareNode
  names: readonly { name: Buffer; type: number }[] | undefined
}

const HANDLES_MAX = 4096
/** Names that all open folders together may have. */
const NAMES_MAX = 2_000_000

/** What the guest has opened. */
export class ShareHandles {
  readonly #files = new Map<number, FileHandle>()
  readonly #folders = new Map<number, FolderHandle>()
  readonly #idle = new Set<() => void>()
  #busy = 0
  #names = 0
  #nextId = 1

  /** @throws FuseError `ENFILE`, to be thrown before anything is opened */
  checkRoom(): void {
    if (this.#files.size + this.#folders.size >= HANDLES_MAX) throw new FuseError('ENFILE')
  }

  addFile(node: ShareNode, fd: number): number {
    this.#files.set(this.#nextId, { node, fd, busy: 0, released: false })
    return this.#nextId++
  }

  addFolder(node: ShareNode): number {
    this.checkRoom()
    this.#folders.set(this.#nextId, { node, names: undefined })
    return this.#nextId++
  }

  file(id: number): FileHandle {
    const handle = this.#files.get(id)
    if (!handle) throw new FuseError('EBADF')
    return handle
  }

  folder(id: number): FolderHandle {
    const handle = this.#folders.get(id)
    if (!handle) throw new FuseError('EBADF')
    return handle
  }

  /** Some handle of a file, which may have lost its name. */
  fileOf(node: ShareNode): FileHandle | undefined {
    for (const handle of this.#files.values()) if (handle.node === node) return handle
    return undefined
  }

  setNames(handle: FolderHandle, names: NonNullable<FolderHandle['names']>): void {
    const change = names.length - (handle.names?.length ?? 0)
    if (this.#names + change > NAMES_MAX) throw new FuseError('ENOMEM')
    this.#names += change
    handle.names = names
  }

  /** Runs one request on a file, keeping it open meanwhile. */
  async use<T>(handle: FileHandle, work: (fd: number) => Promise<T>): Promise<T> {
    handle.busy++
    this.#busy++
    try {
      return await work(handle.fd)
    } finally {
      handle.busy--
      if (handle.released && handle.busy === 0) close(handle.fd, () => {})
      if (--this.#busy === 0) {
        for (const done of this.#idle) done()
        this.#idle.clear()
      }
    }
  }

  releaseFile(id: number): void {
    const handle = this.#files.get(id)
    if (!handle) return
    this.#files.delete(id)
    handle.released = true
    if (handle.busy === 0) closeSync(handle.fd)
  }

  releaseFolder(id: number): void {
    this.#names -= this.#folders.get(id)?.names?.length ?? 0
    this.#folders.delete(id)
  }

  reset(): void {
    for (const id of [...this.#files.keys()]) this.releaseFile(id)
    this.#folders.clear()
    this.#names = 0
  }

  /** When no request is under way. */
  async idle(): Promise<void> {
    if (this.#busy > 0) await new Promise<void>((resolve) => this.#idle.add(resolve))
  }
}
