import { copyFile, mkdir, mkdtemp, open, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type AssetOptions, cachedFolder } from './cache.js'
import { guestInitramfs } from './guest-initramfs.js'
import { guestPrograms } from './guest-programs.js'
import type { KernelAsset } from './kernel.js'
import { packageFiles } from './package-files.js'
import { runProgram } from './program.js'

const SECTOR = 512
const MIB = 2 ** 20
/** Where the partition begins, as partitioning programs have it: before it there is room for the boot loader. */
const PARTITION = 2048 * SECTOR
const MODULES = 'usr/lib/grub/i386-pc'
const GRUB = ['boot.img', 'diskboot.img', 'kernel.img'].map((name) => `${MODULES}/${name}`)

// A master boot record's partition table (the boot loader's code lies before it).
const PARTITION_TABLE = 446
const ACTIVE = 0x80
const TYPE_LINUX = 0x83
/** Bytes of GRUB's boot.img that a master boot record takes over. */
const BOOT_CODE = 440

/** What a disk with GRUB is made of. */
export interface GrubDiskOptions extends AssetOptions {
  /** The kernel's command line; one for a guest that powers off at once unless told: see `guestInit`. */
  commandLine?: string
}

const POWER_OFF = 'console=ttyS0 nodekvm.mode=poweroff'

/**
 * The path of a disk image as an installed system's: GRUB in its first sectors, and a partition with a kernel and an
 * initramfs, which GRUB starts. All that it says, it says on the serial console.
 * @throws VmmError `ERR_ASSET`, `ERR_MISSING_PROGRAM` without apt, dpkg or mkfs.ext4
 */
export async function grubDisk(
  kernel: KernelAsset,
  { commandLine = POWER_OFF, ...options }: GrubDiskOptions = {},
): Promise<string> {
  const { report = () => {} } = options
  const initrd = await guestInitramfs(kernel, options)
  const build = async (directory: string) => {
    const work = await mkdtemp(join(dirname(directory), 'grub-'))
    try {
      const core = await grubCore(work, commandLine, options)
      report('making a disk with GRUB')
      const partition = join(work, 'partition.img')
      await makePartition(partition, join(work, 'files'), {
        vmlinuz: kernel.vmlinuz,
        'initrd.img': initrd,
      })
      const grub = await packageFiles('grub-pc-bin', GRUB, options)
      const boot = await readFile(join(grub, MODULES, 'boot.img'))
      const image = diskImage(boot, await readFile(core), await readFile(partition))
      await writeFile(join(directory, 'disk.img'), image)
      return { kernel: kernel.version, commandLine }
    } finally {
      await rm(work, { recursive: true, force: true })
    }
  }
  const words = commandLine.replace(/[^\w.=-]+/g, '_')
  const { path } = await cachedFolder(`grub-disk/${kernel.version}-${words}`, build, {
    report,
    verify: () => ['disk.img'],
  })
  return join(path, 'disk.img')
}

/** GRUB with the modules that it needs to get at the partition, and with what it is to do. */
async function grubCore(work: string, commandLine: string, options: AssetOptions): Promise<string> {
  const program = { package: 'grub-common', path: 'usr/bin/grub-mkimage' }
  const { folder } = await guestPrograms([program], options)
  const grub = await packageFiles('grub-pc-bin', GRUB, options)
  const configuration = join(work, 'grub.cfg')
  const core = join(work, 'core.img')
  const commands = [
    'serial --unit=0 --speed=115200',
    'terminal_output serial',
    'echo GRUB starts the kernel',
    'set root=(hd0,msdos1)',
    `linux /vmlinuz ${commandLine}`,
    'initrd /initrd.img',
    'boot',
  ]
  await writeFile(configuration, `${commands.join('\n')}\n`)
  await runProgram(join(folder, 'bin/grub-mkimage'), [
    ...['-d', join(grub, MODULES), '-O', 'i386-pc', '-p', '(hd0,msdos1)/'],
    ...['-c', configuration, '-o', core],
    ...['biosdisk', 'part_msdos', 'ext2', 'linux', 'normal', 'serial', 'terminal', 'echo', 'boot'],
  ])
  return core
}

/** An ext2 file system with these files. */
async function makePartition(
  image: string,
  folder: string,
  files: Readonly<Record<string, string>>,
): Promise<void> {
  await mkdir(folder)
  let size = 8 * MIB
  for (const [name, source] of Object.entries(files)) {
    await copyFile(source, join(folder, name))
    size += (await stat(source)).size
  }
  const file = await open(image, 'wx')
  try {
    await file.truncate(Math.ceil(size / MIB) * MIB)
  } finally {
    await file.close()
  }
  await runProgram('mkfs.ext4', ['-q', '-F', '-t', 'ext2', '-m', '0', '-d', folder, image])
}

/** The boot sector, GRUB behind it, and the partition. */
function diskImage(boot: Uint8Array, core: Uint8Array, partition: Uint8Array): Uint8Array {
  const image = new Uint8Array(PARTITION + partition.length)
  const view = new DataView(image.buffer)
  // boot.img reads GRUB from sector 1 on, where it is; its first sector says how much more there is.
  image.set(boot.subarray(0, BOOT_CODE))
  image.set(core, SECTOR)
  image.set(partition, PARTITION)
  view.setUint8(PARTITION_TABLE, ACTIVE)
  view.setUint8(PARTITION_TABLE + 4, TYPE_LINUX)
  view.setUint32(PARTITION_TABLE + 8, PARTITION / SECTOR, true)
  view.setUint32(PARTITION_TABLE + 12, partition.length / SECTOR, true)
  view.setUint16(510, 0xaa55, true)
  return image
}
