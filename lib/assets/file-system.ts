import { open, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { AssetOptions } from './cache.js'
import { guestPrograms } from './guest-programs.js'
import { runProgram } from './program.js'

const MIB = 2 ** 20
const SECTOR = 512

/** How a file system is made. */
export interface FileSystemOptions {
  /** ext4 unless told. */
  type?: 'ext2' | 'ext4'
  /** MiB to be left free, besides the tables' eighth. */
  spareMiB: number
}

/** Makes a file of zeros, which takes no room; none may be there. */
export async function emptyImage(path: string, sizeMiB: number): Promise<void> {
  const file = await open(path, 'wx')
  try {
    await file.truncate(sizeMiB * MIB)
  } finally {
    await file.close()
  }
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
  await emptyImage(image, Math.ceil((await sizeOf(folder)) * 1.125 + spareMiB))
  // Nothing is left for the guest's kernel to initialize in the background.
  const complete = ['-E', `lazy_itable_init=0${type === 'ext4' ? ',lazy_journal_init=0' : ''}`]
  await runProgram('mkfs.ext4', [
    ...['-q', '-F', '-t', type, '-m', '0', ...complete, '-d', folder, image],
  ])
}

/**
 * Makes an image of a partition with a FAT file system that holds a folder's files.
 * @param image where it goes; must not exist
 * @param start the partition's first sector, which FAT notes
 * @throws VmmError `ERR_ASSET`
 */
export async function makeFatFileSystem(
  image: string,
  folder: string,
  start: number,
  options: AssetOptions,
): Promise<void> {
  const sizeMiB = Math.ceil(await sizeOf(folder)) + 8
  await emptyImage(image, sizeMiB)
  const programs = ['mformat', 'mcopy'].map((name) => ({
    package: 'mtools',
    path: `usr/bin/${name}`,
  }))
  const { folder: mtools } = await guestPrograms(programs, options)
  const sectors = String((sizeMiB * MIB) / SECTOR)
  const geometry = ['-H', String(start), '-T', sectors, '-h', '255', '-s', '63']
  await runProgram(join(mtools, 'bin/mformat'), ['-i', image, ...geometry, '::'])
  const files = (await readdir(folder)).map((name) => join(folder, name))
  await runProgram(join(mtools, 'bin/mcopy'), ['-i', image, '-s', ...files, '::/'])
}

/** MiB of a folder's files. */
async function sizeOf(folder: string): Promise<number> {
  const listing = await runProgram('du', ['-sk', '--apparent-size', folder])
  return Number(listing.split('\t')[0]) / 1024
}
