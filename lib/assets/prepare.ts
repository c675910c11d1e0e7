import type { AssetOptions } from './cache.js'
import { ext4Image } from './disk-image.js'
import { grubDisk } from './grub-disk.js'
import { guestAgentAsset } from './guest-agent.js'
import { guestInitramfs } from './guest-initramfs.js'
import { KERNEL_SERIES, kernelAsset } from './kernel.js'
import { firmwareAsset } from './package-files.js'

/** Puts into the cache what the tests of stock guests need, so that none of them has to fetch or to wait. */
export async function prepareGuestAssets(options: AssetOptions = {}): Promise<void> {
  for (const series of KERNEL_SERIES) {
    await guestInitramfs(await kernelAsset(series, 'cloud-amd64', options), options)
  }
  await guestAgentAsset(options)
  await ext4Image(options)
  await firmwareAsset(options)
  await grubDisk(await kernelAsset('6.12', 'cloud-amd64', options), options)
}
