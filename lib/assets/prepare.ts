import { bootables } from './bootables.js'
import type { AssetOptions } from './cache.js'
import { debianSystem } from './debian-system.js'
import { ext4Image } from './disk-image.js'
import { fileSystemTests } from './file-system-tests.js'
import { grubDisk } from './grub-disk.js'
import { guestAgentAsset } from './guest-agent.js'
import { guestInitramfs } from './guest-initramfs.js'
import { KERNEL_FLAVOURS, KERNEL_SERIES, kernelAsset } from './kernel.js'
import { firmwareAsset } from './package-files.js'

/** What {@link prepareGuestAssets} takes. */
export interface PrepareOptions extends AssetOptions {
  /** Whether to make what only the tests take that run when asked for: firmware, hypervisors, whole Debians. */
  long?: boolean
}

/**
 * Puts into the cache what the tests of stock guests need, so that none of them has to fetch or to wait.
 * @throws VmmError `ERR_ASSET` if something cannot be fetched; with `long`, if this is not root, whom debootstrap wants
 */
export async function prepareGuestAssets(options: PrepareOptions = {}): Promise<void> {
  for (const series of KERNEL_SERIES) {
    await guestInitramfs(await kernelAsset(series, 'cloud-amd64', options), options)
  }
  await guestAgentAsset(options)
  await ext4Image(options)
  await firmwareAsset(options)
  await bootables(options)
  if (options.long) await prepareLong(options)
}

async function prepareLong(options: AssetOptions): Promise<void> {
  await fileSystemTests(options)
  const kernel = await kernelAsset('6.12', 'cloud-amd64', options)
  await grubDisk(kernel, options)
  await grubDisk(kernel, { ...options, firmware: 'uefi' })
  for (const series of KERNEL_SERIES) {
    for (const flavour of KERNEL_FLAVOURS) await debianSystem(series, flavour, options)
  }
}
