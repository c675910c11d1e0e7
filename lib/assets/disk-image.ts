import { join } from 'node:path'
import { invalidOption } from '../errors.js'
import { type AssetOptions, cachedFolder } from './cache.js'
import { emptyImage } from './file-system.js'
import { runProgram } from './program.js'

/** What {@link ext4Image} takes. */
export interface DiskImageOptions extends AssetOptions {
  /** MiB, from 16 to 4096; 32 unless told. */
  sizeMiB?: number
}

/**
 * The path of an empty ext4 file system in a raw image, to be copied by whoever writes to it.
 * @throws VmmError `ERR_MISSING_PROGRAM` without mkfs.ext4, `ERR_INVALID_OPTION`
 */
export async function ext4Image(options: DiskImageOptions = {}): Promise<string> {
  const { sizeMiB = 32, report = () => {} } = options
  if (!Number.isInteger(sizeMiB) || sizeMiB < 16 || sizeMiB > 4096) {
    throw invalidOption('sizeMiB', sizeMiB, 'an integer from 16 to 4096')
  }
  const build = async (directory: string) => {
    report('making an ext4 image')
    const image = join(directory, 'disk.img')
    await emptyImage(image, sizeMiB)
    // Nothing is left for the guest's kernel to initialize in the background.
    const complete = 'lazy_itable_init=0,lazy_journal_init=0'
    await runProgram('mkfs.ext4', ['-q', '-F', '-m', '0', '-E', complete, image])
    return { sizeMiB: String(sizeMiB) }
  }
  const folder = await cachedFolder(`ext4-${sizeMiB}M`, build, {
    report,
    verify: () => ['disk.img'],
  })
  return join(folder.path, 'disk.img')
}
