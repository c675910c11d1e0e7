import type { FileHandle } from 'node:fs/promises'
import {
  EROFS_BLOCK_BITS,
  EROFS_BLOCK_SIZE,
  EROFS_DIRENT_SIZE,
  EROFS_EXTENDED_FLAT_INLINE,
  EROFS_EXTENDED_FLAT_PLAIN,
  EROFS_INODE_EXTENDED_SIZE,
  EROFS_SLOT_SIZE,
  EROFS_SUPER_MAGIC_V1,
  EROFS_SUPER_OFFSET,
  FT_BLKDEV,
  FT_CHRDEV,
  FT_DIR,
  FT_FIFO,
  FT_REG_FILE,
  FT_SOCK,
  FT_SYMLINK,
} from './erofs-abi.js'
import type { Directory, FileContent, FileTree, TreeNode } from './file-tree.js'
import { badRootfs } from './rootfs-error.js'

/** Bytes that are kept beside their inode instead of in a block of their own. */
export const INLINE_MAX = 2048

const KIND: Readonly<Record<TreeNode['type'], { fileType: number; mode: number }>> = {
  file: { fileType: FT_REG_FILE, mode: 0o100000 },
  directory: { fileType: FT_DIR, mode: 0o040000 },
  character: { fileType: FT_CHRDEV, mode: 0o020000 },
  block: { fileType: FT_BLKDEV, mode: 0o060000 },
  fifo: { fileType: FT_FIFO, mode: 0o010000 },
  socket: { fileType: FT_SOCK, mode: 0o140000 },
  symlink: { fileType: FT_SYMLINK, mode: 0o120000 },
}

/** An inode's place and what is to be written of it. */
interface Inode {
  readonly node: TreeNode
  readonly nid: number
  readonly parent: Inode | undefined
  readonly size: number
}

/**
 * Writes an EROFS image: contents first, as they come, so that an archive is read once and no file of it is ever made
 * on this machine; then directories and inodes.
 */
export class ErofsImage {
  readonly #file: FileHandle
  readonly #bytesMax: number
  /** The first block is the superblock's. */
  #blocks = 1

  constructor(file: FileHandle, bytesMax: number) {
    this.#file = file
    this.#bytesMax = bytesMax
  }

  /**
   * Writes the content of a file.
   * @param name for errors
   * @throws VmmError `ERR_ROOTFS` if the image would have more bytes than it may
   */
  async add(name: string, size: number, chunks: AsyncIterable<Buffer>): Promise<FileContent> {
    if (size > this.#bytesMax - this.#blocks * EROFS_BLOCK_SIZE) {
      throw badRootfs(name, `more than ${this.#bytesMax} bytes in all, its own ${size} included`)
    }
    if (size <= INLINE_MAX) {
      const pieces: Buffer[] = []
      for await (const chunk of chunks) pieces.push(chunk)
      const inline = Buffer.concat(pieces)
      return { size: inline.length, inline }
    }
    const block = this.#blocks
    let done = 0
    for await (const chunk of chunks) {
      // A file may grow while it is being read.
      const part = chunk.subarray(0, size - done)
      await this.#write(part, block * EROFS_BLOCK_SIZE + done)
      done += part.length
      if (done === size) break
    }
    this.#blocks += blocksOf(size)
    return { size, block }
  }

  /** Writes what is left. The tree's contents are those that {@link add} has given. */
  async finish(tree: FileTree): Promise<void> {
    const inodes = placeInodes(tree.root)
    const last = inodes.at(-1)!
    const metadataBlock = this.#blocks
    const metadata = Buffer.alloc(
      blocksOf(last.nid * EROFS_SLOT_SIZE + inodeSize(last)) * EROFS_BLOCK_SIZE,
    )
    const nids = new Map(inodes.map(({ node, nid }) => [node, nid]))
    this.#blocks += metadata.length / EROFS_BLOCK_SIZE
    for (const [index, inode] of inodes.entries()) {
      const data = dataOf(inode, (node) => nids.get(node)!)
      let block =
        'content' in inode.node && 'block' in inode.node.content ? inode.node.content.block : 0
      if (data && data.length > INLINE_MAX) {
        block = this.#blocks
        await this.#write(data, block * EROFS_BLOCK_SIZE)
        this.#blocks += blocksOf(data.length)
      }
      const at = inode.nid * EROFS_SLOT_SIZE
      writeInode(metadata, at, inode, index + 1, block)
      if (data && data.length <= INLINE_MAX) data.copy(metadata, at + EROFS_INODE_EXTENDED_SIZE)
    }
    await this.#write(metadata, metadataBlock * EROFS_BLOCK_SIZE)
    const root = inodes[0]!.nid
    await this.#write(
      superblock(root, inodes.length, this.#blocks, metadataBlock),
      EROFS_SUPER_OFFSET,
    )
    await this.#file.truncate(this.#blocks * EROFS_BLOCK_SIZE)
  }

  async #write(bytes: Buffer, position: number): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await this.#file.write(
        bytes,
        done,
        bytes.length - done,
        position + done,
      )
      done += bytesWritten
    }
  }
}

/** The root first, as its number has only 16 bits. */
function placeInodes(root: Directory): Inode[] {
  const inodes: Inode[] = []
  const placed = new Set<TreeNode>()
  // Not at 0, which is no inode's number elsewhere.
  let at = EROFS_INODE_EXTENDED_SIZE
  const place = (node: TreeNode, parent: Inode | undefined): void => {
    if (placed.has(node)) return
    placed.add(node)
    const size = sizeOf(node)
    const whole = inodeSize({ node, size })
    // Inline data must not go over the end of a block.
    if ((at % EROFS_BLOCK_SIZE) + whole > EROFS_BLOCK_SIZE) at = blocksOf(at) * EROFS_BLOCK_SIZE
    inodes.push({ node, nid: at / EROFS_SLOT_SIZE, parent, size })
    at += Math.ceil(whole / EROFS_INODE_EXTENDED_SIZE) * EROFS_INODE_EXTENDED_SIZE
  }
  place(root, undefined)
  for (let i = 0; i < inodes.length; i++) {
    const inode = inodes[i]!
    if (inode.node.type !== 'directory') continue
    for (const child of inode.node.children.values()) place(child, inode)
  }
  return inodes
}

function inodeSize({ node, size }: Pick<Inode, 'node' | 'size'>): number {
  return EROFS_INODE_EXTENDED_SIZE + (isInline(node, size) ? size : 0)
}

function isInline(node: TreeNode, size: number): boolean {
  return size > 0 && size <= INLINE_MAX && !('content' in node && 'block' in node.content)
}

function sizeOf(node: TreeNode): number {
  if (node.type === 'file') return node.content.size
  if (node.type === 'symlink') return Buffer.byteLength(node.target)
  if (node.type !== 'directory') return 0
  const blocks = directoryBlocks(namesOf(node))
  const last = blocks.at(-1)!
  return (blocks.length - 1) * EROFS_BLOCK_SIZE + bytesOf(last)
}

/** Sorted by their bytes, as the kernel searches them. */
function namesOf(node: Directory): Buffer[] {
  const names = ['.', '..', ...node.children.keys()].map((name) => Buffer.from(name))
  return names.sort(Buffer.compare)
}

function directoryBlocks(names: readonly Buffer[]): Buffer[][] {
  const blocks: Buffer[][] = [[]]
  let used = 0
  for (const name of names) {
    const length = EROFS_DIRENT_SIZE + name.length
    if (used + length > EROFS_BLOCK_SIZE) {
      blocks.push([])
      used = 0
    }
    blocks.at(-1)!.push(name)
    used += length
  }
  return blocks
}

function bytesOf(names: readonly Buffer[]): number {
  return names.reduce((sum, name) => sum + EROFS_DIRENT_SIZE + name.length, 0)
}

/** What is to be written besides the inode; a file's blocks have been. */
function dataOf({ node, parent }: Inode, nidOf: (node: TreeNode) => number): Buffer | undefined {
  if (node.type === 'symlink') return Buffer.from(node.target)
  if (node.type === 'file') return 'inline' in node.content ? node.content.inline : undefined
  if (node.type !== 'directory') return undefined
  const blocks = directoryBlocks(namesOf(node))
  const bytes = Buffer.alloc((blocks.length - 1) * EROFS_BLOCK_SIZE + bytesOf(blocks.at(-1)!))
  for (const [index, names] of blocks.entries()) {
    const block = bytes.subarray(index * EROFS_BLOCK_SIZE, (index + 1) * EROFS_BLOCK_SIZE)
    let nameAt = names.length * EROFS_DIRENT_SIZE
    for (const [i, name] of names.entries()) {
      const text = name.toString()
      const target =
        text === '.' ? node : text === '..' ? (parent?.node ?? node) : node.children.get(text)!
      block.writeBigUInt64LE(BigInt(nidOf(target)), i * EROFS_DIRENT_SIZE)
      block.writeUInt16LE(nameAt, i * EROFS_DIRENT_SIZE + 8)
      block.writeUInt8(KIND[target.type].fileType, i * EROFS_DIRENT_SIZE + 10)
      name.copy(block, nameAt)
      nameAt += name.length
    }
  }
  return bytes
}

/** struct erofs_inode_extended */
function writeInode(into: Buffer, at: number, inode: Inode, number: number, block: number): void {
  const { node, size } = inode
  const inline = isInline(node, size)
  into.writeUInt16LE(inline ? EROFS_EXTENDED_FLAT_INLINE : EROFS_EXTENDED_FLAT_PLAIN, at)
  into.writeUInt16LE(KIND[node.type].mode | node.mode, at + 4)
  into.writeBigUInt64LE(BigInt(size), at + 8)
  into.writeUInt32LE(
    node.type === 'character' || node.type === 'block' ? encodeDevice(node) : block,
    at + 16,
  )
  into.writeUInt32LE(number, at + 20)
  into.writeUInt32LE(node.uid, at + 24)
  into.writeUInt32LE(node.gid, at + 28)
  into.writeBigUInt64LE(BigInt(node.mtime), at + 32)
  into.writeUInt32LE(linksOf(node), at + 44)
}

function linksOf(node: TreeNode): number {
  if (node.type === 'file') return node.links
  if (node.type !== 'directory') return 1
  return 2 + [...node.children.values()].filter(({ type }) => type === 'directory').length
}

/** new_encode_dev() of linux/kdev_t.h */
function encodeDevice({ major, minor }: { major: number; minor: number }): number {
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0
}

/** struct erofs_super_block */
function superblock(root: number, inodes: number, blocks: number, metadataBlock: number): Buffer {
  const bytes = Buffer.alloc(128)
  bytes.writeUInt32LE(EROFS_SUPER_MAGIC_V1, 0)
  bytes.writeUInt8(EROFS_BLOCK_BITS, 12)
  bytes.writeUInt16LE(root, 14)
  bytes.writeBigUInt64LE(BigInt(inodes), 16)
  bytes.writeUInt32LE(blocks, 36)
  bytes.writeUInt32LE(metadataBlock, 40)
  return bytes
}

function blocksOf(bytes: number): number {
  return Math.ceil(bytes / EROFS_BLOCK_SIZE)
}
