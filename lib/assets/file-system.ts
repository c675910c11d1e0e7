import { open } from 'node:fs/promises'
import { runProgram } from './program.js'

const MIB = 2 ** 20

/** How a file system is made. */
export interface FileSystemOptions {
  /** ext4 unless told. */
  type?: 'ext2' | 'ext4'
  /** MiB to be left free, besides the tables' eighth. */
  spareMiB: number
}

/**
 * Makes an image with a file system that holds a folder's files.
 * @param image where it goes; must not exist
 * @throws VmmError `ERR_ASSET`, `ERR_MISSING_PROGRAM` without mkfs.ext4
 */
export async function makeFileSystem(
  image: string,
  folder: string,
  { type = 'ext4', spareMiB }: FileSystemOptions,
): Promise<void> {
  const listing = await runProgram('du', ['-sk', '--apparent-size', folder])
  const kibibytes = Number(listing.split('\t')[0])
  const file = await open(image, 'wx')
  try {
    await file.truncate(Math.ceil((kibibytes * 1.125) / 1024 + spareMiB) * MIB)
  } finally {
    await file.close()
  }
  // Nothing is left for the guest's kernel to initialize in the background.
  const complete = ['-E', `lazy_itable_init=0${type === 'ext4' ? ',lazy_journal_init=0' : ''}`]
  await runProgram('mkfs.ext4', [
    ...['-q', '-F', '-t', type, '-m', '0', ...complete, '-d', folder, image],
  ])
}
