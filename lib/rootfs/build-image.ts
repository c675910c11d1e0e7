import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { decompressed } from './decompress-stream.js'
import { ErofsImage } from './erofs-image.js'
import { FileTree } from './file-tree.js'
import { addFolder } from './folder-layer.js'
import { archiveSource, folderSource } from './image-source.js'
import { type OciImage, readImage } from './oci-image.js'
import { addTarLayer } from './tar-layer.js'
import { resolveUser } from './users.js'

/** What a root file system's image says should run in it. */
export interface RootfsProcess {
  /** The program and its arguments, if the image names one. */
  readonly argv: readonly string[]
  /** Its variables. */
  readonly env: Readonly<Record<string, string>>
  /** Its working directory. */
  readonly cwd: string
  /** Number of its user. */
  readonly uid: number
  /** Number of its group. */
  readonly gid: number
}

/**
 * Writes an EROFS image of a root file system to the file `target`, which must not exist.
 * @param source a folder, a tar archive of one, or an OCI image: a folder, or an archive as of `docker save` or `skopeo`
 * @param bytesMax that the image may have
 * @throws VmmError `ERR_ROOTFS`
 */
export async function buildRootfsImage(
  source: string,
  kind: 'folder' | 'archive',
  target: string,
  bytesMax: number,
): Promise<RootfsProcess> {
  await using file = await open(target, 'wx')
  const image = new ErofsImage(file, bytesMax)
  const tree = new FileTree()
  let oci: OciImage | undefined
  if (kind === 'folder') {
    oci = await readImage(source, await folderSource(source))
    if (!oci) await addFolder(tree, image, source)
  } else {
    // A whole image is never compressed but by hand; a root file system mostly is.
    oci = (await isPlain(source)) ? await readImage(source, await archiveSource(source)) : undefined
    if (!oci) {
      await addTarLayer(tree, image, source, decompressed(source, createReadStream(source)), false)
    }
  }
  for (const layer of oci?.layers ?? []) {
    await addTarLayer(tree, image, layer.name, decompressed(layer.name, layer.read()), true)
  }
  for (const path of MOUNT_POINTS) {
    if (!tree.find(path))
      tree.add(path, { type: 'directory', mode: 0o755, uid: 0, gid: 0, mtime: 0 })
  }
  await image.finish(tree)
  const { argv = [], env = {}, cwd = '/', user = '' } = oci?.config ?? {}
  return { argv, env, cwd, ...resolveUser(tree, user) }
}

/** What the guest's init mounts something on. */
const MOUNT_POINTS = ['dev', 'proc', 'sys', 'run', 'tmp']

async function isPlain(path: string): Promise<boolean> {
  await using file = await open(path, 'r')
  const { buffer, bytesRead } = await file.read(Buffer.alloc(263), 0, 263, 0)
  return bytesRead === 263 && buffer.toString('latin1', 257, 262) === 'ustar'
}
