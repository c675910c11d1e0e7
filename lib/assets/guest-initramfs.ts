import { createHash } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { GUEST_MODULES, guestInit, OPTIONAL_GUEST_MODULES } from '../initramfs/guest-init.js'
import { buildInitramfs } from '../initramfs/initramfs.js'
import { resolveModules } from '../initramfs/module-order.js'
import { busyboxAsset } from './busybox.js'
import { type AssetOptions, cachedFolder } from './cache.js'
import type { KernelAsset } from './kernel.js'

export interface GuestInitramfsOptions extends AssetOptions {
  /** Modules to load besides those for virtio-mmio, block, net and ext4. */
  modules?: readonly string[]
}

/**
 * The path of an initramfs for a guest of this kernel: busybox, the modules for virtio-mmio, and an `/init` that does
 * what the command line says: see `guestInit`.
 * @throws VmmError `ERR_ASSET` if busybox cannot be fetched, `ERR_INVALID_OPTION` for a module that the kernel lacks
 */
export async function guestInitramfs(
  kernel: KernelAsset,
  options: GuestInitramfsOptions = {},
): Promise<string> {
  const { report = () => {}, modules: more = [] } = options
  const busybox = await busyboxAsset({ report })
  const init = guestInit()
  const names = [...GUEST_MODULES, ...more]
  const key = createHash('sha256')
    .update(JSON.stringify([kernel.package.sha256, init, names, OPTIONAL_GUEST_MODULES]))
    .update(busybox)
    .digest('hex')
    .slice(0, 16)
  const build = async (directory: string) => {
    report('building the initramfs')
    const modules = await resolveModules(kernel.modules, names, OPTIONAL_GUEST_MODULES)
    await writeFile(join(directory, 'initrd.img'), buildInitramfs({ init, busybox, modules }))
    return { kernel: kernel.version, modules: modules.map(({ name }) => name).join(' ') }
  }
  const name = `initramfs/${kernel.version}-${key}`
  const { path } = await cachedFolder(name, build, { report, verify: () => ['initrd.img'] })
  return join(path, 'initrd.img')
}
