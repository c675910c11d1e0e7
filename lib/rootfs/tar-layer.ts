import type { ErofsImage } from './erofs-image.js'
import type { FileTree } from './file-tree.js'
import { badRootfs } from './rootfs-error.js'
import { readTar, type TarEntry } from './tar-reader.js'

const WHITEOUT = '.wh.'
const OPAQUE = '.wh..wh..opq'

/**
 * Puts a layer, a tar archive, over what is in the tree; its contents go into the image.
 * @param whiteouts whether names that begin with `.wh.` take away what is below (image-spec, "Whiteouts")
 * @throws VmmError `ERR_ROOTFS`
 */
export async function addTarLayer(
  tree: FileTree,
  image: ErofsImage,
  name: string,
  chunks: AsyncIterable<Uint8Array>,
  whiteouts: boolean,
): Promise<void> {
  tree.nextLayer()
  for await (const entry of readTar(name, chunks)) {
    const path = entry.name.replace(/\/+$/, '')
    const slash = path.lastIndexOf('/')
    const base = path.slice(slash + 1)
    if (!whiteouts || !base.startsWith(WHITEOUT)) await addEntry(tree, image, path, entry)
    else if (base === OPAQUE) tree.removeContent(path.slice(0, Math.max(slash, 0)))
    else {
      const target = base.slice(WHITEOUT.length)
      if (target === '' || target === '.') throw badRootfs(entry.name, 'a whiteout of nothing')
      tree.remove(path.slice(0, slash + 1) + target)
    }
  }
}

async function addEntry(
  tree: FileTree,
  image: ErofsImage,
  path: string,
  entry: TarEntry,
): Promise<void> {
  const { type, mode, uid, gid, mtime, major, minor } = entry
  const common = { mode, uid, gid, mtime }
  switch (type) {
    case 'file': {
      const content = await image.add(entry.name, entry.size, entry.content)
      tree.add(path, { ...common, type, content })
      return
    }
    case 'link':
      tree.link(path, entry.linkName)
      return
    case 'symlink':
      tree.add(path, { ...common, type, target: entry.linkName })
      return
    case 'character':
    case 'block':
      tree.add(path, { ...common, type, major, minor })
      return
    default:
      tree.add(path, { ...common, type })
  }
}
