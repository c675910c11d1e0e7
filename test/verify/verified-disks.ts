import { join } from 'node:path'
import type { BlockBackend } from '../../lib/backends/block/block-backend.js'
import { CustomDisk } from '../../lib/backends/block/custom-disk.js'
import { FileDisk } from '../../lib/backends/block/file-disk.js'
import { OverlayDisk } from '../../lib/backends/block/overlay-disk.js'
import { sparseFile } from '../helpers/sparse-file.js'

/** What moves a disk's data, by the name that the disk gives it. */
export const ENGINES = ['io_uring', 'threads', 'js', 'overlay', 'custom'] as const
export type Engine = (typeof ENGINES)[number]

/** A disk of zeroes that is served by an engine. */
export function diskOf(engine: Engine, folder: string, bytes: number): BlockBackend {
  if (engine === 'custom') return customDisk(bytes)
  const path = sparseFile(join(folder, `${engine}.img`), bytes)
  return engine === 'overlay' ? new OverlayDisk(path) : new FileDisk(path, { engine })
}

function customDisk(size: number): CustomDisk {
  const contents = new Uint8Array(size)
  return new CustomDisk({
    size,
    read: async (offset, length) => contents.slice(offset, offset + length),
    async write(offset, data) {
      contents.set(data, offset)
    },
    async flush() {},
  })
}
