import { type BigIntStats, closeSync, constants, fstatSync, lstatSync, openSync } from 'node:fs'
import { FUSE_ROOT_ID } from './fuse-abi.js'
import { FuseError } from './fuse-message.js'

/** A file that the guest has looked up. */
export interface ShareNode {
  readonly id: number
  /** Which file it is. */
  readonly key: string
  /** Where it was seen last. The root has none. */
  parent: ShareNode | undefined
  name: string
  /** How often the guest has been given it, and has not forgotten it. */
  lookups: number
  /** Nodes that were seen last in this one. */
  children: number
}

/** Files that the guest may know at a time: it forgets those that it has no memory for. */
const NODES_MAX = 500_000
/** Folders that are held open, besides the root. */
const FOLDERS_MAX = 256
const NAME_MAX = 255
/** linux/fcntl.h */
const O_PATH = 0o10000000

/** Never through a link, and never waiting for what is no regular file. */
export const SAFE_FLAGS = constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY

const FOLDER_FLAGS = O_PATH | constants.O_DIRECTORY | constants.O_NOFOLLOW

/**
 * The files that the guest knows, and how they are reached: always as one plain name in a folder that is held open,
 * the name not being followed if it is a link. So whatever the guest or anybody else puts in its way, no path leads out
 * of the shared folder. (`/proc/self/fd/N/name` is to open(2) what `name` with descriptor N is to openat(2).)
 */
export class ShareNodes {
  readonly #root: ShareNode
  readonly #rootFd: number
  readonly #nodes = new Map<number, ShareNode>()
  readonly #byKey = new Map<string, ShareNode>()
  /** The least recently used first. */
  readonly #folders = new Map<ShareNode, number>()
  #nextId = FUSE_ROOT_ID

  constructor(path: string) {
    // The folder itself may be a link: it is the host's choice.
    this.#rootFd = openSync(path, O_PATH | constants.O_DIRECTORY)
    const status = fstatSync(this.#rootFd, { bigint: true })
    this.#root = this.#add(status, undefined, '')
    this.#root.lookups = 1
  }

  close(): void {
    this.reset()
    closeSync(this.#rootFd)
  }

  /** All but the root is forgotten. */
  reset(): void {
    for (const fd of this.#folders.values()) closeSync(fd)
    this.#folders.clear()
    this.#nodes.clear()
    this.#byKey.clear()
    this.#root.children = 0
    this.#nodes.set(this.#root.id, this.#root)
    this.#byKey.set(this.#root.key, this.#root)
  }

  get(id: number): ShareNode {
    const node = this.#nodes.get(id)
    if (!node) throw new FuseError('ESTALE')
    return node
  }

  /** Gives the guest what a folder has under a name. */
  lookup(parent: ShareNode, name: string): { node: ShareNode; status: BigIntStats } {
    const status = lstatSync(this.pathIn(parent, name), { bigint: true })
    const known = this.#byKey.get(keyOf(status))
    const node = known ?? this.#add(status, parent, name)
    if (known && known !== this.#root) this.#move(known, parent, name)
    node.lookups++
    return { node, status }
  }

  forget(id: number, count: number): void {
    const node = this.#nodes.get(id)
    if (!node || node === this.#root) return
    node.lookups = Math.max(0, node.lookups - count)
    this.#drop(node)
  }

  /** A file that the guest may know has got this name. */
  renamed(parent: ShareNode, name: string): void {
    const node = this.#byKey.get(keyOf(lstatSync(this.pathIn(parent, name), { bigint: true })))
    if (node?.parent) this.#move(node, parent, name)
  }

  /**
   * Runs what takes a name away. If that was the last, the file's number may be used for another one, which must not be
   * taken for it.
   */
  removing(parent: ShareNode, name: string, remove: () => void): void {
    const path = this.pathIn(parent, name)
    const status = lstatSync(path, { bigint: true, throwIfNoEntry: false })
    remove()
    if (!status || (status.nlink > 1n && !status.isDirectory())) return
    const key = keyOf(status)
    if (this.#byKey.get(key)?.parent) this.#byKey.delete(key)
  }

  status(node: ShareNode): BigIntStats {
    if (!node.parent) return fstatSync(this.#rootFd, { bigint: true })
    const status = lstatSync(this.pathIn(node.parent, node.name), { bigint: true })
    if (!isSame(node, status)) throw new FuseError('ESTALE')
    return status
  }

  /** The path of a name in a folder, of bytes. Valid until the next call. */
  pathIn(parent: ShareNode, name: string): Buffer {
    if (name === '' || name === '.' || name === '..' || name.includes('/') || name.includes('\0')) {
      throw new FuseError('EINVAL')
    }
    if (name.length > NAME_MAX) throw new FuseError('ENAMETOOLONG')
    return Buffer.from(`${this.folderPath(parent)}/${name}`, 'latin1')
  }

  /** The path of a node that is no folder. What is there may have become another file: look at what was opened. */
  pathOf(node: ShareNode): Buffer {
    if (!node.parent) throw new FuseError('EISDIR')
    return this.pathIn(node.parent, node.name)
  }

  folderPath(node: ShareNode): string {
    return `/proc/self/fd/${this.#folder(node)}`
  }

  /** Opens what was looked up, and nothing that has come in its place. */
  open(node: ShareNode, flags: number): number {
    const path = node.parent ? this.pathOf(node) : this.folderPath(node)
    return openSame(node, path, flags | (node.parent ? SAFE_FLAGS : 0))
  }

  #folder(node: ShareNode): number {
    if (!node.parent) return this.#rootFd
    const open = this.#folders.get(node)
    if (open !== undefined) {
      this.#folders.delete(node)
      this.#folders.set(node, open)
      return open
    }
    const fd = openSame(node, this.pathIn(node.parent, node.name), FOLDER_FLAGS)
    this.#folders.set(node, fd)
    if (this.#folders.size > FOLDERS_MAX) this.#shut(this.#folders.keys().next().value!)
    return fd
  }

  #shut(node: ShareNode): void {
    const fd = this.#folders.get(node)
    if (fd !== undefined) closeSync(fd)
    this.#folders.delete(node)
  }

  #add(status: BigIntStats, parent: ShareNode | undefined, name: string): ShareNode {
    if (this.#nodes.size >= NODES_MAX) throw new FuseError('ENFILE')
    const key = keyOf(status)
    const id = this.#nextId++
    const node: ShareNode = { id, key, parent, name, lookups: 0, children: 0 }
    if (parent) parent.children++
    this.#nodes.set(id, node)
    this.#byKey.set(key, node)
    return node
  }

  #move(node: ShareNode, parent: ShareNode, name: string): void {
    // Never below itself, which only a race with others could make it seem.
    for (let above: ShareNode | undefined = parent; above; above = above.parent) {
      if (above === node) throw new FuseError('ESTALE')
    }
    const before = node.parent
    parent.children++
    node.parent = parent
    node.name = name
    if (before) {
      before.children--
      this.#drop(before)
    }
  }

  /** What neither the guest nor a child needs is given up, and then perhaps its parent. */
  #drop(from: ShareNode): void {
    for (let node: ShareNode | undefined = from; node?.parent; ) {
      if (node.lookups > 0 || node.children > 0) return
      this.#shut(node)
      this.#nodes.delete(node.id)
      if (this.#byKey.get(node.key) === node) this.#byKey.delete(node.key)
      node.parent.children--
      node = node.parent
    }
  }
}

const TYPE_MASK = 0o170000n

/** With its type, as others may remove a file and make another one of its number. */
function keyOf({ dev, ino, mode }: BigIntStats): string {
  return `${dev}:${ino}:${mode & TYPE_MASK}`
}

export function isSame(node: ShareNode, status: BigIntStats): boolean {
  return node.key === keyOf(status)
}

/** @throws FuseError `ESTALE` if another file is there now */
function openSame(node: ShareNode, path: string | Buffer, flags: number): number {
  const fd = openSync(path, flags)
  try {
    if (!isSame(node, fstatSync(fd, { bigint: true }))) throw new FuseError('ESTALE')
    return fd
  } catch (error) {
    closeSync(fd)
    throw error
  }
}
