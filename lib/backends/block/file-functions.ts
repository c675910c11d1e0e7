import type { FileHandle } from 'node:fs/promises'
import { constants } from 'node:os'
import type { BlockFunctions } from './js-channel.js'

/** An open file: a `FileHandle`, or as much of one as disks use. */
export type DiskFile = Pick<FileHandle, 'fd' | 'readv' | 'writev' | 'datasync'>

/** A file by Node's own `fs`, for guest memory that no mapping backs. */
export function fileFunctions(file: DiskFile): BlockFunctions {
  return {
    async read(offset, buffers) {
      await transfer(offset, buffers, (left, at) => file.readv(left, at).then((r) => r.bytesRead))
      return undefined
    },
    async write(offset, buffers, durable) {
      await transfer(offset, buffers, (left, at) =>
        file.writev(left, at).then((r) => r.bytesWritten),
      )
      if (durable) await again(() => file.datasync())
    },
    flush: () => again(() => file.datasync()),
  }
}

async function transfer(
  offset: number,
  buffers: readonly Uint8Array[],
  move: (left: Uint8Array[], at: number) => Promise<number>,
): Promise<void> {
  let at = offset
  let left = [...buffers]
  while (left.length > 0) {
    let moved = await again(() => move(left, at))
    // The file has become shorter than the disk.
    if (moved === 0)
      throw Object.assign(new Error('unexpected end of the disk image'), {
        errno: constants.errno.EIO,
      })
    at += moved
    while (left.length > 0 && moved >= left[0]!.length) {
      moved -= left[0]!.length
      left = left.slice(1)
    }
    if (moved > 0) left[0] = left[0]!.subarray(moved)
  }
}

/** Does what a signal, or the file system itself, has interrupted once more. */
async function again<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call()
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EINTR') throw error
    }
  }
}
