import { badRootfs } from './rootfs-error.js'

/** Where a file's content is: in memory, or in blocks of the image. */
export type FileContent =
  | { readonly size: number; readonly inline: Buffer }
  | { readonly size: number; readonly block: number }

interface Attributes {
  /** Permission bits. */
  mode: number
  uid: number
  gid: number
  /** Seconds since 1970. */
  mtime: number
}

/** What a path stands for. Two names of one file share the object. */
export type TreeNode =
  | (Attributes & Layered & { type: 'directory'; children: Map<string, TreeNode> })
  | (Attributes & Layered & { type: 'file'; content: FileContent; links: number })
  | (Attributes & Layered & { type: 'symlink'; target: string })
  | (Attributes & Layered & { type: 'character' | 'block'; major: number; minor: number })
  | (Attributes & Layered & { type: 'fifo' | 'socket' })

interface Layered {
  /** The layer that it came from last. */
  layer: number
}

export type Directory = TreeNode & { type: 'directory' }

/** What {@link FileTree.add} takes. */
export type NewNode =
  | (Attributes & { type: 'directory' | 'fifo' | 'socket' })
  | (Attributes & { type: 'file'; content: FileContent })
  | (Attributes & { type: 'symlink'; target: string })
  | (Attributes & { type: 'character' | 'block'; major: number; minor: number })

export interface FileTreeLimits {
  /** Names in the whole tree. */
  readonly entriesMax: number
}

const NAME_MAX = 255
const PATH_MAX = 4095
const UINT32_MAX = 2 ** 32 - 1

/**
 * A tree of files put together from layers, each over those before, as the OCI image specification has it
 * (image-spec, "Image Layer Filesystem Changeset"). Nothing of it is ever a path on this machine.
 */
export class FileTree {
  readonly root: Directory = directory(0)
  readonly #limits: FileTreeLimits
  #layer = 0
  #entries = 0

  constructor(limits: FileTreeLimits = { entriesMax: 2_000_000 }) {
    this.#limits = limits
  }

  /** What is added from now on lies over what is there. */
  nextLayer(): void {
    this.#layer++
  }

  /**
   * Puts something at a path, in the place of what an earlier layer has there; a directory keeps what is in it.
   * @throws VmmError `ERR_ROOTFS` for a path that leads out of the tree, or through what is no directory
   */
  add(path: string, node: NewNode): void {
    const parts = split(path)
    checkAttributes(path, node)
    const name = parts.pop()
    if (name === undefined) {
      if (node.type !== 'directory') throw badRootfs(path, 'the root is no directory')
      Object.assign(this.root, attributes(node))
      return
    }
    const parent = this.#directory(path, parts)
    const before = parent.children.get(name)
    if (node.type === 'directory' && before?.type === 'directory') {
      Object.assign(before, attributes(node), { layer: this.#layer })
      return
    }
    this.#set(path, parent, name, this.#make(node))
  }

  /** Gives a file, or whatever it is, a second name. */
  link(path: string, target: string): void {
    const node = this.find(target)
    if (!node || node.type === 'directory')
      throw badRootfs(path, `a link to ${target}, which is no file`)
    const parts = split(path)
    const name = parts.pop()
    if (name === undefined) throw badRootfs(path, 'the root is no directory')
    const parent = this.#directory(path, parts)
    if (parent.children.get(name) === node) return
    if (node.type === 'file') node.links++
    this.#set(path, parent, name, node)
  }

  /** Takes away what earlier layers have at a path (a whiteout). */
  remove(path: string): void {
    const parts = split(path)
    const name = parts.pop()
    const parent = name === undefined ? undefined : this.find(parts.join('/'))
    if (parent?.type !== 'directory' || name === undefined) return
    const node = parent.children.get(name)
    if (node && node.layer < this.#layer) this.#drop(parent, name)
    else if (node?.type === 'directory') this.#hideLower(node)
  }

  /** Takes away all that earlier layers have in a directory (an opaque whiteout). */
  removeContent(path: string): void {
    this.#hideLower(this.#directory(path, split(path)))
  }

  /** What is at a path, no symbolic link being followed. */
  find(path: string): TreeNode | undefined {
    let node: TreeNode | undefined = this.root
    for (const part of split(path)) {
      node = node?.type === 'directory' ? node.children.get(part) : undefined
    }
    return node
  }

  #directory(path: string, parts: readonly string[]): Directory {
    let node: Directory = this.root
    for (const part of parts) {
      if (!node.children.has(part)) this.#set(path, node, part, directory(this.#layer))
      const next: TreeNode = node.children.get(part)!
      // To follow a symbolic link could lead anywhere in the tree; no tool writes such archives on purpose.
      if (next.type !== 'directory') throw badRootfs(path, `it lies below ${part}, a ${next.type}`)
      node = next
    }
    return node
  }

  #make(node: NewNode): TreeNode {
    const common = { ...attributes(node), layer: this.#layer }
    switch (node.type) {
      case 'directory':
        return { ...common, type: node.type, children: new Map() }
      case 'file':
        return { ...common, type: node.type, content: node.content, links: 1 }
      case 'symlink':
        return { ...common, type: node.type, target: node.target }
      case 'character':
      case 'block':
        return { ...common, type: node.type, major: node.major, minor: node.minor }
      default:
        return { ...common, type: node.type }
    }
  }

  #set(path: string, parent: Directory, name: string, node: TreeNode): void {
    this.#drop(parent, name)
    if (++this.#entries > this.#limits.entriesMax) {
      throw badRootfs(path, `more than ${this.#limits.entriesMax} files`)
    }
    parent.children.set(name, node)
  }

  #drop(parent: Directory, name: string): void {
    const node = parent.children.get(name)
    if (!node) return
    parent.children.delete(name)
    this.#entries--
    if (node.type === 'file') node.links--
    if (node.type === 'directory')
      for (const child of [...node.children.keys()]) this.#drop(node, child)
  }

  #hideLower(node: Directory): void {
    for (const [name, child] of [...node.children]) {
      if (child.layer < this.#layer) this.#drop(node, name)
      else if (child.type === 'directory') this.#hideLower(child)
    }
  }
}

function directory(layer: number): Directory {
  return { type: 'directory', layer, mode: 0o755, uid: 0, gid: 0, mtime: 0, children: new Map() }
}

function attributes({ mode, uid, gid, mtime }: Attributes): Attributes {
  return { mode, uid, gid, mtime }
}

function checkAttributes(path: string, node: NewNode): void {
  for (const id of [node.uid, node.gid]) {
    if (!(id >= 0 && id < UINT32_MAX)) throw badRootfs(path, `a file of user or group ${id}`)
  }
  if (node.type === 'symlink') {
    const length = Buffer.byteLength(node.target)
    if (length < 1 || length > PATH_MAX || node.target.includes('\0')) {
      throw badRootfs(path, 'a symbolic link to nothing')
    }
  }
  // Linux's device numbers have 12 and 20 bits.
  if ('major' in node && (node.major > 4095 || node.minor > 2 ** 20 - 1)) {
    throw badRootfs(path, `a device of number ${node.major}:${node.minor}`)
  }
}

/** The names of a path. `.` and a slash at the end mean nothing; `''` and `'.'` are the root. */
function split(path: string): string[] {
  if (path.startsWith('/')) throw badRootfs(path, 'an absolute path')
  if (Buffer.byteLength(path) > PATH_MAX || path.includes('\0')) {
    throw badRootfs(path.slice(0, 80), 'a path that is too long, or has a NUL in it')
  }
  const parts = path.split('/').filter((part) => part !== '' && part !== '.')
  for (const part of parts) {
    if (part === '..') throw badRootfs(path, 'a path that leads out of the tree')
    if (Buffer.byteLength(part) > NAME_MAX) throw badRootfs(path, 'a name of more than 255 bytes')
  }
  return parts
}
