import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { badRootfs } from './rootfs-error.js'
import { readTar } from './tar-reader.js'

/** The files of an image as it is handed around: of an archive that is not compressed, or of a folder. */
export interface ImageSource {
  has(path: string): boolean
  read(path: string): AsyncIterable<Uint8Array>
}

/** Names in an archive of an image: blobs, and what names them. */
const ENTRIES_MAX = 10_000

/** The files of an archive, found without reading them. */
export async function archiveSource(archive: string): Promise<ImageSource> {
  const places = new Map<string, { offset: number; size: number }>()
  const links = new Map<string, string>()
  for await (const { name, type, size, offset, linkName } of readTar(archive, seeking(archive))) {
    const path = name.replace(/^\.\//, '')
    if (places.size + links.size >= ENTRIES_MAX) break
    if (type === 'file') places.set(path, { offset, size })
    // Older versions of docker save layers that are alike once.
    else if (type === 'symlink') links.set(path, join(path, '..', linkName))
    else if (type === 'link') links.set(path, linkName)
  }
  const find = (path: string) => places.get(path) ?? places.get(links.get(path) ?? '')
  return {
    has: (path) => find(path) !== undefined,
    read: (path) => {
      const place = find(path)
      if (!place) throw badRootfs(archive, `it names ${path}, which is not in it`)
      return place.size === 0
        ? noBytes()
        : createReadStream(archive, {
            start: place.offset,
            end: place.offset + place.size - 1,
            highWaterMark: 2 ** 18,
          })
    },
  }
}

/** An image in a folder. Only names of the layout are ever asked for. */
export async function folderSource(folder: string): Promise<ImageSource> {
  const isFile = async (name: string) =>
    (await stat(join(folder, name)).catch(() => undefined))?.isFile() ?? false
  const there = new Set<string>()
  for (const name of ['oci-layout', 'index.json']) if (await isFile(name)) there.add(name)
  return {
    has: (path) => there.has(path),
    read: (path) => createReadStream(join(folder, path), { highWaterMark: 2 ** 18 }),
  }
}

function seeking(archive: string): AsyncIterable<Uint8Array> {
  return createReadStream(archive, { highWaterMark: 2 ** 18 })
}

async function* noBytes(): AsyncGenerator<Uint8Array> {}
