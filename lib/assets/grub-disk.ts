import { type BootDiskContents, bootDisk } from './boot-disk.js'
import type { AssetOptions } from './cache.js'
import { guestInitramfs } from './guest-initramfs.js'
import type { KernelAsset } from './kernel.js'

/** What a disk with GRUB is made of. */
export interface GrubDiskOptions extends AssetOptions {
  /** The kernel's command line; one for a guest that powers off at once unless told: see `guestInit`. */
  commandLine?: string
  /** Which firmware starts it; `bios` unless told. */
  firmware?: BootDiskContents['firmware']
}

const POWER_OFF = 'console=ttyS0 nodekvm.mode=poweroff'

/**
 * The path of a disk image as an installed system's: GRUB, and a partition with a kernel and an initramfs, which GRUB
 * starts. All that it says, it says on the serial console.
 * @throws VmmError `ERR_ASSET`, `ERR_MISSING_PROGRAM` without apt, dpkg or mkfs.ext4
 */
export async function grubDisk(
  kernel: KernelAsset,
  { commandLine = POWER_OFF, firmware = 'bios', ...options }: GrubDiskOptions = {},
): Promise<string> {
  const contents = {
    firmware,
    files: { vmlinuz: kernel.vmlinuz, 'initrd.img': await guestInitramfs(kernel, options) },
    commands: [
      'echo GRUB starts the kernel',
      `linux /vmlinuz ${commandLine}`,
      'initrd /initrd.img',
      'boot',
    ],
    modules: ['linux'],
  }
  return bootDisk(contents, options)
}
