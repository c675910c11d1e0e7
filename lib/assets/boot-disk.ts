import { createHash } from 'node:crypto'
import { copyFile, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type AssetOptions, cachedFolder } from './cache.js'
import { makeFatFileSystem, makeFileSystem } from './file-system.js'
import { grubBootSector, grubImage } from './grub-image.js'

const SECTOR = 512
/** Where the partition begins, as partitioning programs have it: before it there is room for the boot loader. */
const PARTITION = 2048 * SECTOR

// A master boot record's partition table (the boot loader's code lies before it).
const PARTITION_TABLE = 446
const ACTIVE = 0x80
const TYPE_LINUX = 0x83
const TYPE_EFI_SYSTEM = 0xef
/** Bytes of GRUB's boot.img that a master boot record takes over. */
const BOOT_CODE = 440

/** What is on a disk with GRUB. */
export interface BootDiskContents {
  /** Which firmware starts it: `bios` from its first sector, `uefi` from its EFI system partition. */
  readonly firmware: 'bios' | 'uefi'
  /** Files of its partition, by name, and where they come from. */
  readonly files: Readonly<Record<string, string>>
  /** What GRUB does. Its serial console is set up, and its root is the partition. */
  readonly commands: readonly string[]
  /** GRUB's modules for these commands, besides those for disk and console. */
  readonly modules: readonly string[]
}

/**
 * The path of a disk image as an installed system's: GRUB, and a partition with files. All that GRUB says, it says on the
 * serial console.
 * @throws VmmError `ERR_ASSET`, `ERR_MISSING_PROGRAM` without apt, dpkg or mkfs.ext4
 */
export async function bootDisk(
  contents: BootDiskContents,
  options: AssetOptions = {},
): Promise<string> {
  const { report = () => {} } = options
  const states = await Promise.all(Object.values(contents.files).map(stateOf))
  const key = createHash('sha256')
    .update(JSON.stringify([contents, states]))
    .digest('hex')
    .slice(0, 16)
  const build = async (directory: string) => {
    const work = await mkdtemp(join(dirname(directory), 'grub-'))
    try {
      report('making a disk with GRUB')
      const make = contents.firmware === 'bios' ? biosDisk : uefiDisk
      await writeFile(join(directory, 'disk.img'), await make(contents, work, options))
      return { files: Object.values(contents.files).join(' ') }
    } finally {
      await rm(work, { recursive: true, force: true })
    }
  }
  const name = `boot-disk/${contents.firmware}-${key}`
  const { path } = await cachedFolder(name, build, { report, verify: () => ['disk.img'] })
  return join(path, 'disk.img')
}

/** Of a file that was changed, the disk is made anew. */
async function stateOf(path: string): Promise<readonly number[]> {
  const { size, mtimeMs } = await stat(path)
  return [size, Math.floor(mtimeMs)]
}

type MakeDisk = (
  contents: BootDiskContents,
  work: string,
  options: AssetOptions,
) => Promise<Uint8Array>

const biosDisk: MakeDisk = async ({ files, commands, modules }, work, options) => {
  const core = await grubImage({ target: 'i386-pc', commands, modules, work }, options)
  const folder = join(work, 'files')
  await copyFiles(folder, files)
  const partition = join(work, 'partition.img')
  await makeFileSystem(partition, folder, { type: 'ext2', spareMiB: 8 })
  const image = partitioned(await readFile(partition), TYPE_LINUX)
  // boot.img reads GRUB from sector 1 on, where it is; its first sector says how much more there is.
  image.set((await grubBootSector(options)).subarray(0, BOOT_CODE))
  image.set(await readFile(core), SECTOR)
  return image
}

/** Where UEFI looks on a disk that it has not seen before (UEFI Specification 2.10, section 3.5.1.1). */
const REMOVABLE_MEDIA_PATH = 'EFI/BOOT/BOOTX64.EFI'

const uefiDisk: MakeDisk = async ({ files, commands, modules }, work, options) => {
  const grub = await grubImage({ target: 'x86_64-efi', commands, modules, work }, options)
  const folder = join(work, 'files')
  await copyFiles(folder, { ...files, [REMOVABLE_MEDIA_PATH]: grub })
  const partition = join(work, 'partition.img')
  await makeFatFileSystem(partition, folder, PARTITION / SECTOR, options)
  return partitioned(await readFile(partition), TYPE_EFI_SYSTEM)
}

async function copyFiles(folder: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, source] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true })
    await copyFile(source, join(folder, name))
  }
}

/** A disk with a master boot record, without code, and one partition. */
function partitioned(partition: Uint8Array, type: number): Uint8Array {
  const image = new Uint8Array(PARTITION + partition.length)
  const view = new DataView(image.buffer)
  image.set(partition, PARTITION)
  view.setUint8(PARTITION_TABLE, ACTIVE)
  view.setUint8(PARTITION_TABLE + 4, type)
  view.setUint32(PARTITION_TABLE + 8, PARTITION / SECTOR, true)
  view.setUint32(PARTITION_TABLE + 12, partition.length / SECTOR, true)
  view.setUint16(510, 0xaa55, true)
  return image
}
