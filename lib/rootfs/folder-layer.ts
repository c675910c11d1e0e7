import { constants, createReadStream, type Stats } from 'node:fs'
import { lstat, open, readdir, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { ErofsImage } from './erofs-image.js'
import type { FileTree, NewNode } from './file-tree.js'
import { badRootfs } from './rootfs-error.js'

/**
 * Puts a folder of this machine's into the tree as it is: owners, modes, links, devices. No symbolic link is followed,
 * and other file systems mounted in it are taken along.
 * @throws VmmError `ERR_ROOTFS` for what cannot be read
 */
export async function addFolder(tree: FileTree, image: ErofsImage, folder: string): Promise<void> {
  /** Files with several names, by device and inode. */
  const linked = new Map<string, string>()
  const add = async (path: string): Promise<void> => {
    const own = join(folder, path)
    try {
      const status = await lstat(own)
      const key = `${status.dev}:${status.ino}`
      const first = status.nlink > 1 && !status.isDirectory() ? linked.get(key) : undefined
      if (first !== undefined) return tree.link(path, first)
      tree.add(path, await nodeOf(image, own, status))
      if (status.nlink > 1) linked.set(key, path)
      if (!status.isDirectory()) return
    } catch (cause) {
      throw (cause as { code?: string }).code === 'ERR_ROOTFS'
        ? cause
        : badRootfs(own, (cause as Error).message, cause)
    }
    for (const name of await readdir(own)) await add(join(path, name))
  }
  await add('')
}

async function nodeOf(image: ErofsImage, path: string, status: Stats): Promise<NewNode> {
  const common = {
    mode: status.mode & 0o7777,
    uid: status.uid,
    gid: status.gid,
    mtime: Math.max(0, Math.floor(status.mtimeMs / 1000)),
  }
  if (status.isDirectory()) return { ...common, type: 'directory' }
  if (status.isSymbolicLink()) return { ...common, type: 'symlink', target: await readlink(path) }
  if (status.isFIFO()) return { ...common, type: 'fifo' }
  if (status.isSocket()) return { ...common, type: 'socket' }
  if (status.isFile()) {
    // What has become something else meanwhile is neither followed nor waited for.
    await using file = await open(
      path,
      constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
    )
    const now = await file.stat()
    if (!now.isFile()) throw badRootfs(path, 'it has changed while it was read')
    const chunks = createReadStream('', { fd: file, autoClose: false, highWaterMark: 2 ** 18 })
    return { ...common, type: 'file', content: await image.add(path, now.size, chunks) }
  }
  const { major, minor } = decodeDevice(status.rdev)
  return { ...common, type: status.isBlockDevice() ? 'block' : 'character', major, minor }
}

/** glibc's gnu_dev_major and gnu_dev_minor, of numbers of 12 and 20 bits. */
function decodeDevice(device: number): { major: number; minor: number } {
  return { major: (device >> 8) & 0xfff, minor: (device & 0xff) | ((device >>> 12) & 0xfff00) }
}
